. /common.sh
server "" && runs || return
mark now
kill -9 "$guard"
watch_on
