//! Reading and writing what is stored: fixed-width integers and texts with their length before them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    put_blob(out, text.as_bytes());
}

pub(super) fn put_blob(out: &mut BytesMut, blob: &[u8]) {
    // Nothing that is stored comes near 4 GiB: a frame is bounded by the message limit.
    let length = u32::try_from(blob.len()).unwrap_or(u32::MAX);
    out.put_u32(length);
    out.put_slice(&blob[..length as usize]);
}

/// Takes values off the front; `None` where they do not suffice.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn u8(&mut self) -> Option<u8> {
        (self.0.remaining() >= 1).then(|| self.0.get_u8())
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        (self.0.remaining() >= 8).then(|| self.0.get_u64())
    }

    pub(super) fn array(&mut self) -> Option<[u8; 32]> {
        (self.0.remaining() >= 32).then(|| {
            let mut array = [0; 32];
            self.0.copy_to_slice(&mut array);
            array
        })
    }

    pub(super) fn blob(&mut self) -> Option<Bytes> {
        let length = (self.0.remaining() >= 4).then(|| self.0.get_u32() as usize)?;
        (self.0.remaining() >= length).then(|| self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.blob()?.to_vec()).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
