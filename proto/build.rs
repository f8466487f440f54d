//! Compiles the `.proto` files without `protoc`, and keeps their descriptors for reflection.

use std::{env, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("proto");
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("tasuki/v1"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    files.sort();
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("tasuki_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .codec_path("crate::codec::RoomyCodec")
        // The calls between servers carry large bodies: shared, not copied.
        .bytes(".tasuki.v1.PeerRequest")
        .bytes(".tasuki.v1.PeerReply")
        .bytes(".tasuki.v1.SnapshotChunk")
        .bytes(".tasuki.v1.MirrorFrame")
        .compile_fds(descriptors)?;
    Ok(())
}
