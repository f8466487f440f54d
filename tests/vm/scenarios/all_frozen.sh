. /common.sh
server "" && runs || return
frozen="$guard $(node)"
mark now
kill -STOP $frozen
watch_on
