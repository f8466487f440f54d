//! Checksums by which two copies are compared without sending what is equal. Two different blocks with
//! the same sum would never be noticed, so they are cryptographic ones.

use bytes::{BufMut, Bytes, BytesMut};
use ring::digest::{SHA256, digest};
use tokio::task::{JoinError, spawn_blocking};

/// Bytes of one sum.
pub const SUM: usize = 16;

/// The sums of these bytes, one for each chunk, on another thread.
///
/// # Errors
/// When the runtime ends.
pub async fn of(bytes: Bytes, chunk: u32) -> Result<Bytes, JoinError> {
    spawn_blocking(move || of_now(&bytes, chunk)).await
}

/// The same, here.
#[must_use]
pub fn of_now(bytes: &[u8], chunk: u32) -> Bytes {
    let mut sums = BytesMut::new();
    for chunk in bytes.chunks(chunk.max(1) as usize) {
        sums.put_slice(&digest(&SHA256, chunk).as_ref()[..SUM]);
    }
    sums.freeze()
}

/// Whether there is nothing but zeroes.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(16);
    let rest = words.remainder().iter().all(|byte| *byte == 0);
    rest && words.into_iter().all(|word| word == [0; 16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_are_found_and_one_bit_is_not_overlooked() {
        assert!(is_zero(&[]) && is_zero(&[0; 4099]));
        for at in [0, 15, 16, 4095, 4098] {
            let mut bytes = [0; 4099];
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
        }
    }

    #[test]
    fn each_chunk_has_its_sum() {
        let sums = of_now(&[7; 10], 4);
        assert_eq!(sums.len(), 3 * SUM);
        assert_eq!(sums[..SUM], sums[SUM..2 * SUM]);
        assert_ne!(sums[..SUM], sums[2 * SUM..]);
    }
}
