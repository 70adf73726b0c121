//! Finding the end of an HTTP/1.1 head while its bytes come in, and what can be wrong with one.

use thiserror::Error;

/// Looks for the empty line that ends a head, examining every byte exactly once however the
/// bytes are cut into reads.
///
/// A client that sends one byte at a time would otherwise make the server search the same bytes
/// again for each: quadratic work for linear traffic. What no head may contain is refused at the
/// byte where it stands, so a TLS or binary greeting ends a connection at once instead of at the
/// handshake deadline.
#[derive(Debug, Clone, Default)]
pub struct HeadScan {
    scanned: usize,
    /// Complete lines so far, the start line included.
    line_count: usize,
    line_bytes: usize,
    after_carriage_return: bool,
    #[cfg(test)]
    examined_count: usize,
}

impl HeadScan {
    /// Continues where the last call stopped. `buffer` starts with the head's first byte and
    /// holds at least the bytes of the last call.
    ///
    /// Gives the length of the head in bytes, the empty line included, once it is complete
    /// (bytes behind it are not looked at), and `None` as long as bytes are missing. After a
    /// complete head the scan stands at the beginning again, ready for the next one.
    ///
    /// # Errors
    ///
    /// [`HeadError`] if no continuation could make the head acceptable: a limit is exceeded, or
    /// a byte has no place in a head. The connection is then to be answered and closed.
    ///
    /// # Panics
    ///
    /// If `buffer` is shorter than the last call's, which only a faulty caller can do.
    pub fn scan(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        assert!(buffer.len() >= self.scanned, "the buffer of a head must only grow");
        let end = buffer.len().min(limits.head_bytes_max).max(self.scanned);
        for byte in &buffer[self.scanned..end] {
            self.scanned += 1;
            #[cfg(test)]
            {
                self.examined_count += 1;
            }
            if self.examine(*byte, limits)? {
                let head_bytes = self.scanned;
                *self = HeadScan::default();
                return Ok(Some(head_bytes));
            }
        }
        if self.scanned < limits.head_bytes_max {
            Ok(None)
        } else if self.line_count == 0 {
            Err(HeadError::StartLineTooLong)
        } else {
            Err(HeadError::TooLarge)
        }
    }

    /// Whether `byte` completes the head.
    fn examine(&mut self, byte: u8, limits: &HeadLimits) -> Result<bool, HeadError> {
        if self.after_carriage_return {
            // RFC 9112 §2.2: a bare CR must be refused or replaced.
            if byte != b'\n' {
                return Err(HeadError::BareCarriageReturn);
            }
            return self.end_line(limits);
        }
        match byte {
            b'\r' => self.after_carriage_return = true,
            // RFC 9112 §2.2 lets a recipient accept this; two that disagree on it can be made to
            // see different requests.
            b'\n' => return Err(HeadError::BareLineFeed),
            b' ' | b'\t' if self.line_bytes == 0 && self.line_count > 0 => {
                // RFC 9112 §5.2 (folding) and §2.2 (blanks before the first header).
                return Err(HeadError::FoldedHeader);
            }
            b'\t' => self.line_bytes += 1,
            0x00..=0x1F | 0x7F => return Err(HeadError::ControlByte),
            _ => self.line_bytes += 1,
        }
        Ok(false)
    }

    fn end_line(&mut self, limits: &HeadLimits) -> Result<bool, HeadError> {
        if self.line_bytes == 0 {
            // RFC 9112 §2.2 would skip it for clients of the last century.
            return if self.line_count == 0 { Err(HeadError::EmptyStartLine) } else { Ok(true) };
        }
        self.after_carriage_return = false;
        self.line_bytes = 0;
        self.line_count += 1;
        if self.line_count - 1 > limits.header_count_max {
            return Err(HeadError::TooManyHeaders);
        }
        Ok(false)
    }
}

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first of the start line to the last of the empty line. Default: 16 KiB;
    /// browsers stay well below half of it even with many cookies. A connection may hold this
    /// much memory before it has proved anything, so raising it raises the price of strangers.
    pub head_bytes_max: usize,
    /// Header lines. Default: 64; a browser behind a chain of proxies writes about 25. Each
    /// costs 32 bytes while the head is being decided on.
    pub header_count_max: usize,
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits { head_bytes_max: 16 * 1024, header_count_max: 64 }
    }
}

/// Why a head is refused. The peer is at fault in every case; the connection ends with it,
/// because after a doubtful head nobody knows where the next message would start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The start line alone exceeds [`HeadLimits::head_bytes_max`].
    #[error("the request line is too long")]
    StartLineTooLong,
    /// The head exceeds [`HeadLimits::head_bytes_max`].
    #[error("the head is too large")]
    TooLarge,
    /// The head has more header lines than [`HeadLimits::header_count_max`].
    #[error("the head has too many header lines")]
    TooManyHeaders,
    /// The bytes given are not one whole head, nothing missing and nothing behind it.
    #[error("the bytes are not exactly one head")]
    NotOneHead,
    /// The head starts with an empty line.
    #[error("an empty line stands where the start line should be")]
    EmptyStartLine,
    /// A line feed without a carriage return before it.
    #[error("a line feed stands without a carriage return")]
    BareLineFeed,
    /// A carriage return without a line feed after it.
    #[error("a carriage return stands without a line feed")]
    BareCarriageReturn,
    /// A control byte, NUL among them, stands in the head.
    #[error("a control byte stands in the head")]
    ControlByte,
    /// A header line starts with a blank: a folded header, which HTTP has given up.
    #[error("a header line starts with a blank")]
    FoldedHeader,
    /// The first line is not a request line (or, for a response, a status line).
    #[error("the start line is malformed")]
    StartLine,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    #[error("this version of HTTP is not spoken here")]
    VersionUnsupported,
    /// The method is CONNECT: this is not a proxy.
    #[error("this method is not implemented")]
    MethodUnsupported,
    /// The request target is not a path, a URL or (for OPTIONS) an asterisk.
    #[error("the request target is malformed")]
    Target,
    /// The request target is a URL whose host is not that of the Host header.
    #[error("the request target and the Host header name different hosts")]
    TargetHostMismatch,
    /// A header name is not a token; a blank before the colon is one case of it.
    #[error("a header name is malformed")]
    HeaderName,
    /// A header value holds a byte that no value may hold.
    #[error("a header value is malformed")]
    HeaderValue,
    /// An HTTP/1.1 request without a Host header.
    #[error("the Host header is missing")]
    HostMissing,
    /// More than one Host header.
    #[error("the Host header is repeated")]
    HostRepeated,
    /// The Host header is not `host` or `host:port`.
    #[error("the Host header is malformed")]
    HostMalformed,
    /// The Content-Length header is not one decimal number.
    #[error("the Content-Length header is malformed")]
    ContentLengthMalformed,
    /// More than one Content-Length header, be they equal or not.
    #[error("the Content-Length header is repeated")]
    ContentLengthRepeated,
    /// Both Content-Length and Transfer-Encoding: the classic of request smuggling.
    #[error("Content-Length and Transfer-Encoding stand together")]
    LengthAndEncoding,
    /// Transfer-Encoding is repeated, does not end in `chunked`, or stands in HTTP/1.0.
    #[error("the Transfer-Encoding header is malformed")]
    EncodingMalformed,
    /// Transfer-Encoding names a coding besides `chunked`.
    #[error("this transfer coding is not implemented")]
    EncodingUnsupported,
}

impl HeadError {
    /// The status that answers such a request.
    pub fn http_status(&self) -> u16 {
        match self {
            HeadError::StartLineTooLong => 414, // RFC 9112 §3
            HeadError::TooLarge | HeadError::TooManyHeaders => 431, // RFC 6585 §5
            HeadError::MethodUnsupported | HeadError::EncodingUnsupported => 501,
            HeadError::VersionUnsupported => 505,
            _ => 400,
        }
    }

    /// One word for counters and logs.
    pub fn word(&self) -> &'static str {
        match self {
            HeadError::StartLineTooLong => "start_line_too_long",
            HeadError::TooLarge => "head_too_large",
            HeadError::TooManyHeaders => "too_many_headers",
            HeadError::NotOneHead => "not_one_head",
            HeadError::EmptyStartLine => "empty_start_line",
            HeadError::BareLineFeed => "bare_line_feed",
            HeadError::BareCarriageReturn => "bare_carriage_return",
            HeadError::ControlByte => "control_byte",
            HeadError::FoldedHeader => "folded_header",
            HeadError::StartLine => "start_line_malformed",
            HeadError::VersionUnsupported => "http_version_unsupported",
            HeadError::MethodUnsupported => "method_unsupported",
            HeadError::Target => "target_malformed",
            HeadError::TargetHostMismatch => "target_host_mismatch",
            HeadError::HeaderName => "header_name_malformed",
            HeadError::HeaderValue => "header_value_malformed",
            HeadError::HostMissing => "host_missing",
            HeadError::HostRepeated => "host_repeated",
            HeadError::HostMalformed => "host_malformed",
            HeadError::ContentLengthMalformed => "content_length_malformed",
            HeadError::ContentLengthRepeated => "content_length_repeated",
            HeadError::LengthAndEncoding => "length_and_encoding",
            HeadError::EncodingMalformed => "transfer_encoding_malformed",
            HeadError::EncodingUnsupported => "transfer_encoding_unsupported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\nX: \tb c\r\n\r\n";

    #[test]
    fn every_cut_finds_the_same_end() {
        let mut stream = HEAD.to_vec();
        stream.extend_from_slice(b"\x81\x85\0\r\n\r\n behind the head");
        let limits = HeadLimits::default();
        // A fixed linear congruential sequence: the same cuts in every run.
        let mut seed = 1u64;
        for _ in 0..2_000 {
            let mut scan = HeadScan::default();
            let mut length = 0;
            let found = loop {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                length = (length + (seed >> 33) as usize % 9).min(stream.len());
                if let Some(found) = scan.scan(&stream[..length], &limits).unwrap() {
                    break found;
                }
                assert!(length < HEAD.len(), "the end was missed");
            };
            assert_eq!(found, HEAD.len());
        }
        assert_eq!(HeadScan::default().scan(&stream, &limits), Ok(Some(HEAD.len())));
    }

    #[test]
    fn every_cut_finds_the_same_fault() {
        let faults: &[(&[u8], HeadError)] = &[
            (b"\r\nGET / HTTP/1.1\r\n", HeadError::EmptyStartLine),
            (b"GET / HTTP/1.1\nHost: a\r\n", HeadError::BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", HeadError::BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n", HeadError::BareCarriageReturn),
            (b"GET / HTTP/1.1\r\nHost: a\r\r\n", HeadError::BareCarriageReturn),
            (b"GET / HTTP/1.1\r\nHost: a\0\r\n", HeadError::ControlByte),
            (b"\x16\x03\x01\x02", HeadError::ControlByte),
            (b"GET / HTTP/1.1\r\n Host: a\r\n", HeadError::FoldedHeader),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n", HeadError::FoldedHeader),
        ];
        for (bytes, expected) in faults {
            let limits = HeadLimits::default();
            assert_eq!(HeadScan::default().scan(bytes, &limits), Err(*expected));
            let mut scan = HeadScan::default();
            let drip = (0..=bytes.len()).find_map(|length| {
                scan.scan(&bytes[..length], &limits).map(|end| assert_eq!(end, None)).err()
            });
            assert_eq!(drip, Some(*expected), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn one_scan_serves_the_heads_of_one_connection() {
        let mut scan = HeadScan::default();
        for _ in 0..3 {
            assert_eq!(scan.scan(&HEAD[..20], &HeadLimits::default()), Ok(None));
            assert_eq!(scan.scan(HEAD, &HeadLimits::default()), Ok(Some(HEAD.len())));
        }
    }

    #[test]
    fn a_dripped_bomb_costs_one_look_per_byte() {
        let limits = HeadLimits::default();
        let mut bomb = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        bomb.resize(1024 * 1024, b'a');
        let mut scan = HeadScan::default();
        let (length, error) = (0..=bomb.len())
            .find_map(|length| scan.scan(&bomb[..length], &limits).err().map(|e| (length, e)))
            .unwrap();
        assert_eq!((error, error.http_status()), (HeadError::TooLarge, 431));
        assert_eq!(length, limits.head_bytes_max);
        assert_eq!(scan.examined_count, limits.head_bytes_max);
    }

    #[test]
    fn limits_are_exact() {
        let fits = HeadLimits { head_bytes_max: HEAD.len(), header_count_max: 2 };
        assert_eq!(HeadScan::default().scan(HEAD, &fits), Ok(Some(HEAD.len())));
        let small = HeadLimits { head_bytes_max: HEAD.len() - 1, ..fits };
        assert_eq!(HeadScan::default().scan(HEAD, &small), Err(HeadError::TooLarge));
        let few = HeadLimits { header_count_max: 1, ..fits };
        assert_eq!(HeadScan::default().scan(HEAD, &few), Err(HeadError::TooManyHeaders));
        let tiny = HeadLimits { head_bytes_max: 10, ..fits };
        assert_eq!(HeadScan::default().scan(HEAD, &tiny), Err(HeadError::StartLineTooLong));
        assert_eq!(HeadError::StartLineTooLong.http_status(), 414);
    }

    #[test]
    fn many_headers_are_refused_before_the_head_ends() {
        let mut bomb = b"GET / HTTP/1.1\r\n".to_vec();
        bomb.extend_from_slice(&b"a: b\r\n".repeat(65));
        let result = HeadScan::default().scan(&bomb, &HeadLimits::default());
        assert_eq!(result, Err(HeadError::TooManyHeaders));
        assert_eq!(HeadError::TooManyHeaders.http_status(), 431);
    }
}
