//! Hashes of words and word pairs, stable across platforms and releases: artifacts depend on them.

/// FNV-1a over bytes: cheap, incremental, good enough before the final mix.
#[derive(Debug, Clone, Copy)]
pub struct WordHash(u64);

impl Default for WordHash {
    fn default() -> Self {
        Self::new()
    }
}

impl WordHash {
    /// The hash of nothing yet.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// One more byte.
    pub const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// One more character, by its UTF-8 bytes.
    pub fn char(self, c: char) -> Self {
        let mut buffer = [0; 4];
        c.encode_utf8(&mut buffer).bytes().fold(self, Self::byte)
    }

    /// The finished hash of a text.
    pub const fn text(text: &str) -> u64 {
        let (bytes, mut hash, mut i) = (text.as_bytes(), Self::new(), 0);
        while i < bytes.len() {
            hash = hash.byte(bytes[i]);
            i += 1;
        }
        hash.finish()
    }

    /// The well-mixed hash (the finaliser of splitmix64).
    pub const fn finish(self) -> u64 {
        let mut h = self.0;
        h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        h ^ (h >> 31)
    }
}

/// The hash of two neighbouring words, different from the pair swapped.
pub const fn pair(first: u64, second: u64) -> u64 {
    let mixed = first.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ second;
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// The bucket of a hash in a table of `2^bits` rows: its top bits.
pub(crate) const fn bucket(hash: u64, bits: u32) -> u32 {
    (hash >> (64 - bits)) as u32
}
