# All that is different in the lab from the worked example, deploy/samples/postgres-mirror.toml: where its
# networks are, where the disk is, and that containers have no serial port.
s/10\.1\.0\./172.30.85./g
s/192\.168\.0\.0/172.30.86.0/
s/192\.168\.0\.\([12]\)/172.30.86.1\1/
s|^data = "/dev/sdb2"|data = "/var/lib/tasuki/mirror/oracle.data"\nsize = "512 MiB"                 # of a file; a partition has its own|
s|^metadata = "/dev/sdb1" .*|metadata = "/var/lib/tasuki/mirror/oracle.meta"|
/^\[\[heartbeat\]\]/{
N
/kind = "com"/{
N
d
}
}
