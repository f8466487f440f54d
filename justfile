# Conveniences. The gate itself is .ci/run, the same for a person and for CI.

# What CI runs; changes nothing.
verify:
    bash .ci/run

# Formats, and mends what clippy can mend.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# Failover over the real actors, in one process.
sim:
    cargo test -p tasuki-tests --test sim_failover -- --nocapture

# Every safety rule taken out in turn, until the simulator notices; a quarter of an hour.
bite:
    TASUKI_BITE=all cargo test -p tasuki-tests --test sim_bites -- --nocapture

# The models of votes, leases and mirror, further than CI walks; minutes, and gigabytes of memory.
model:
    cargo test --release -p tasuki-models -- --nocapture --include-ignored --test-threads=1

# Pairs of virtual machines with disks that both have, and watchdogs that really reset them; minutes.
vm-pair:
    cargo build -p tasuki
    cargo test -p tasuki-tests --test vm_pair -- --nocapture --include-ignored --test-threads=1

# Mirrored volumes on virtual machines whose power goes at more moments, alone and in pairs; minutes.
vm-mirror:
    cargo build -p tasuki-volume --examples
    cargo test -p tasuki-tests --test vm_power --test vm_mirror -- --nocapture --include-ignored --test-threads=2
    cargo test -p tasuki-volume --test device_vm -- --nocapture --include-ignored

# Every way for three and five real servers to fall apart; minutes.
pictures:
    cargo build -p tasuki
    cargo test -p tasuki-tests --test fault_pictures --test fault_paused -- --nocapture --include-ignored --test-threads=1

# Copies of a mirrored disk that an operator forced apart, slow checks of copies, and rebuilds that rest.
mirror-apart:
    cargo build -p tasuki
    cargo test -p tasuki-tests --test fault_mirror_apart -- --include-ignored --nocapture --test-threads=1

# PostgreSQL on a mirrored disk, whose active server loses its power thirty times; ten minutes.
mirror-postgres:
    cargo build -p tasuki
    TASUKI_KILLS=30 cargo test -p tasuki-tests --test mirror_postgres -- --nocapture

# A cluster of the older program is brought to this one, server by server; builds both.
upgrade:
    cargo build -p tasuki --features level-1 --target-dir target/older
    cargo build -p tasuki
    TASUKI_OLDER_PROGRAM={{justfile_directory()}}/target/older/debug/tasuki cargo test -p tasuki-tests --test fault_upgrade -- --nocapture

# The Debian package, tried in a clean Debian.
package:
    cargo build --release -p tasuki
    deploy/debian/build.sh
    cargo build -p tasuki
    cargo test -p tasuki-tests --test deploy_debian -- --nocapture

# A cluster of three on this machine: `just lab`, then `just lab kill kiki`.
lab *WORDS:
    cargo run --release -- lab {{WORDS}}

# The numbers: outages, idle cost, write latency; deciding; the engine through the whole path.
bench:
    cargo bench -p tasuki-tests --bench failover
    cargo bench -p tasuki-core --bench decision
    cargo bench -p tasuki-tests --bench engine
    cargo bench -p tasuki-tests --bench mirror

# Writes the golden files anew; look at the difference before you keep it.
golden:
    UPDATE=1 cargo test -p tasuki-tests --test workspace_edges --test supervision_tree
    UPDATE=1 cargo test -p tasuki
