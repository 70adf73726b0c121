//! `Sec-WebSocket-Extensions` (RFC 6455 §9.1) and the negotiation of permessage-deflate
//! (RFC 7692 §7), always without context takeover: a context kept per connection would cost
//! hundreds of kilobytes, and one compressed event could not be shared by its receivers.

use std::borrow::Cow;

use thiserror::Error;

use crate::handshake::field;

/// Whether compression is negotiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeflateSupport {
    /// Neither offered nor accepted. The default: compression costs CPU for every message.
    #[default]
    Off,
    /// Offered by a client, accepted by a server.
    On,
}

/// What was agreed on for permessage-deflate. Neither side keeps a context between messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParams {
    /// The window that our compressor may use at most: 2 to this power bytes, 9 to 15.
    pub outgoing_window_bits: u8,
    /// The window that the peer's compressor uses at most, 9 to 15. A decompressor with a larger
    /// one reads the same stream.
    pub incoming_window_bits: u8,
}

/// Why a `Sec-WebSocket-Extensions` header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The value does not follow the grammar of RFC 6455 §9.1.
    #[error("the Sec-WebSocket-Extensions header is malformed")]
    Malformed,
    /// A server agreed to an extension that was not offered, or to one twice.
    #[error("an extension was agreed to that was not offered")]
    NotOffered,
    /// A server agreed to permessage-deflate, but with parameters that were not offered, are
    /// repeated, are out of range, or leave out that its messages stand alone.
    #[error("permessage-deflate was agreed to with unacceptable parameters")]
    Parameters,
}

/// One element of the header: a name and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    name: &'a str,
    parameters: Vec<Parameter<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter<'a> {
    name: &'a str,
    value: Option<Cow<'a, str>>,
}

/// Reads one header value; a head may have several, whose elements follow one another.
pub(super) fn parse(value: &[u8]) -> Result<Vec<Extension<'_>>, ExtensionError> {
    let mut reader = Reader { rest: value };
    let mut extensions = Vec::new();
    loop {
        reader.skip_blanks();
        // Empty elements are no error (RFC 9110 §5.6.1), an empty list is.
        if !matches!(reader.rest, [] | [b',', ..]) {
            extensions.push(reader.extension()?);
        }
        if reader.rest.is_empty() {
            break;
        }
        if !reader.take(b',') {
            return Err(ExtensionError::Malformed);
        }
    }
    if extensions.is_empty() { Err(ExtensionError::Malformed) } else { Ok(extensions) }
}

/// The server's part: takes the first offer of permessage-deflate that it can keep to, and gives
/// what was agreed with the header value that says so.
pub(super) fn answer(offers: &[Extension<'_>]) -> Option<(DeflateParams, String)> {
    offers.iter().filter(|offer| offer.name == DEFLATE).find_map(|offer| {
        let terms = Terms::read(offer).ok()?;
        // RFC 7692 §7.1.1: both may be answered without having been offered.
        let mut value =
            format!("{DEFLATE}; server_no_context_takeover; client_no_context_takeover");
        let mut outgoing_window_bits = WINDOW_BITS_MAX;
        match terms.server_max_window_bits {
            WindowBits::Absent => {}
            WindowBits::Valued(bits) if bits >= WINDOW_BITS_MIN => {
                outgoing_window_bits = bits;
                value.push_str(&format!("; server_max_window_bits={bits}"));
            }
            // Without a value it is invalid in an offer (RFC 7692 §7.1.2.1); a window of 8 no
            // zlib can keep to.
            WindowBits::Unvalued | WindowBits::Valued(_) => return None,
        }
        // A client's window is not limited in return: any window can be inflated.
        let incoming_window_bits = WINDOW_BITS_MAX;
        Some((DeflateParams { outgoing_window_bits, incoming_window_bits }, value))
    })
}

/// The client's part: what it offers. The last parameter lets the server limit our window.
pub(super) const OFFER: &str = "permessage-deflate; server_no_context_takeover; \
                                client_no_context_takeover; client_max_window_bits";

/// The client's part: what the server made of [`OFFER`].
pub(super) fn verify(answer: &[Extension<'_>]) -> Result<DeflateParams, ExtensionError> {
    let [agreed] = answer else { return Err(ExtensionError::NotOffered) };
    if agreed.name != DEFLATE {
        return Err(ExtensionError::NotOffered);
    }
    let terms = Terms::read(agreed)?;
    // RFC 7692 §7.1.1.1: a server that accepts the offer must repeat this. Whether it repeats
    // client_no_context_takeover does not matter, for we keep no context in any case.
    if !terms.server_no_context_takeover {
        return Err(ExtensionError::Parameters);
    }
    let outgoing_window_bits = match terms.client_max_window_bits {
        WindowBits::Absent => WINDOW_BITS_MAX,
        WindowBits::Valued(bits) if bits >= WINDOW_BITS_MIN => bits,
        // RFC 7692 §7.1.2.2: in an answer it must have a value.
        WindowBits::Unvalued | WindowBits::Valued(_) => return Err(ExtensionError::Parameters),
    };
    let incoming_window_bits = match terms.server_max_window_bits {
        WindowBits::Absent => WINDOW_BITS_MAX,
        // Servers that agree to 8 compress with 9 in fact, as zlib does.
        WindowBits::Valued(bits) => bits.max(WINDOW_BITS_MIN),
        WindowBits::Unvalued => return Err(ExtensionError::Parameters),
    };
    Ok(DeflateParams { outgoing_window_bits, incoming_window_bits })
}

/// The parameters of RFC 7692 §7.1, each at most once, values in range.
#[derive(Default)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: WindowBits,
    client_max_window_bits: WindowBits,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum WindowBits {
    #[default]
    Absent,
    Unvalued,
    Valued(u8),
}

impl Terms {
    fn read(extension: &Extension<'_>) -> Result<Terms, ExtensionError> {
        let mut terms = Terms::default();
        for Parameter { name, value } in &extension.parameters {
            let value = value.as_deref();
            match *name {
                "server_no_context_takeover" => set(&mut terms.server_no_context_takeover, value)?,
                "client_no_context_takeover" => set(&mut terms.client_no_context_takeover, value)?,
                "server_max_window_bits" => terms.server_max_window_bits.set(value)?,
                "client_max_window_bits" => terms.client_max_window_bits.set(value)?,
                _ => return Err(ExtensionError::Parameters),
            }
        }
        Ok(terms)
    }
}

/// Notes a parameter that has no value.
fn set(is_present: &mut bool, value: Option<&str>) -> Result<(), ExtensionError> {
    if *is_present || value.is_some() {
        return Err(ExtensionError::Parameters);
    }
    *is_present = true;
    Ok(())
}

impl WindowBits {
    fn set(&mut self, value: Option<&str>) -> Result<(), ExtensionError> {
        if *self != WindowBits::Absent {
            return Err(ExtensionError::Parameters);
        }
        // RFC 7692 §7.1.2: 8 to 15, without leading zeros.
        *self = match value {
            None => WindowBits::Unvalued,
            Some("8") => WindowBits::Valued(8),
            Some("9") => WindowBits::Valued(9),
            Some("10") => WindowBits::Valued(10),
            Some("11") => WindowBits::Valued(11),
            Some("12") => WindowBits::Valued(12),
            Some("13") => WindowBits::Valued(13),
            Some("14") => WindowBits::Valued(14),
            Some("15") => WindowBits::Valued(15),
            Some(_) => return Err(ExtensionError::Parameters),
        };
        Ok(())
    }
}

/// Reads from the front of a header value.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn extension(&mut self) -> Result<Extension<'a>, ExtensionError> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        self.skip_blanks();
        while self.take(b';') {
            self.skip_blanks();
            parameters.push(self.parameter()?);
            self.skip_blanks();
        }
        Ok(Extension { name, parameters })
    }

    fn parameter(&mut self) -> Result<Parameter<'a>, ExtensionError> {
        let name = self.token()?;
        self.skip_blanks();
        if !self.take(b'=') {
            return Ok(Parameter { name, value: None });
        }
        self.skip_blanks();
        let value = if self.take(b'"') {
            Cow::Owned(self.quoted_token()?)
        } else {
            Cow::Borrowed(self.token()?)
        };
        Ok(Parameter { name, value: Some(value) })
    }

    fn token(&mut self) -> Result<&'a str, ExtensionError> {
        let is_end = |byte: &u8| !field::is_token_byte(*byte);
        let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        field::token(token).ok_or(ExtensionError::Malformed)
    }

    /// The rest of a quoted string. RFC 6455 §9.1: once unescaped, it must be a token.
    fn quoted_token(&mut self) -> Result<String, ExtensionError> {
        let mut text = Vec::new();
        loop {
            let (byte, rest) = match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    break;
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (*byte, rest),
                [] => return Err(ExtensionError::Malformed),
            };
            text.push(byte);
            self.rest = rest;
        }
        field::token(&text).map(str::to_owned).ok_or(ExtensionError::Malformed)
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_blanks(&mut self) {
        while self.take(b' ') || self.take(b'\t') {}
    }
}

const DEFLATE: &str = "permessage-deflate";
const WINDOW_BITS_MAX: u8 = 15;
/// RFC 7692 allows 8, which zlib and its descendants cannot do without a header of their own.
const WINDOW_BITS_MIN: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_followed() {
        let names = |value: &'static str| {
            parse(value.as_bytes())
                .unwrap()
                .iter()
                .map(|extension| extension.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("a"), ["a"]);
        assert_eq!(names(" a , ,b ;c; d = e;f=\"g\" ,"), ["a", "b"]);
        let extensions = parse(b"a; b=\"1\\5\"; c").unwrap();
        let value = Some(Cow::Borrowed("15"));
        let parameters = [Parameter { name: "b", value }, Parameter { name: "c", value: None }];
        assert_eq!(extensions[0].parameters, parameters);
    }

    #[test]
    fn malformed_values_are_refused() {
        let values: &[&[u8]] = &[
            b"",
            b" ",
            b",",
            b";",
            b"a;",
            b"a; ;b",
            b"a b",
            b"a=b",
            b"a; b=",
            b"a; =b",
            b"a; b=\"",
            b"a; b=\"c",
            b"a; b=\"\"",
            b"a; b=\"c d\"",
            b"a; b=\"\\",
            b"a; b=\"\\\"\"",
            b"a; b=c d",
            b"a; b=\"c\"d",
            b"\"a\"",
            b"a\x80",
            b"a; b\0",
            b"a; b=\xFF",
            b"a/b",
            b"a; b=c=d",
        ];
        for value in values {
            let result = parse(value);
            assert_eq!(result, Err(ExtensionError::Malformed), "{}", value.escape_ascii());
        }
    }

    const ANSWER: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn the_first_acceptable_offer_is_answered() {
        let cases = [
            ("permessage-deflate", Some(15)),
            ("permessage-deflate; client_max_window_bits", Some(15)),
            ("permessage-deflate; client_max_window_bits=8", Some(15)),
            ("permessage-deflate; client_max_window_bits=\"10\"", Some(15)),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                Some(15),
            ),
            ("permessage-deflate; server_max_window_bits=15", Some(15)),
            ("permessage-deflate; server_max_window_bits=9", Some(9)),
            ("permessage-deflate; server_max_window_bits=\"12\"", Some(12)),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", Some(15)),
            ("x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=10", Some(10)),
            (
                "permessage-deflate; server_max_window_bits=10, \
                 permessage-deflate; server_max_window_bits=11",
                Some(10),
            ),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=09", None),
            ("permessage-deflate; server_max_window_bits=x", None),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
            ("permessage-deflate; unknown", None),
            ("Permessage-Deflate", None),
            ("permessage-bzip2", None),
        ];
        for (offer, expected) in cases {
            let answer = answer(&parse(offer.as_bytes()).unwrap());
            let bits = answer.as_ref().map(|(params, _)| params.outgoing_window_bits);
            assert_eq!(bits, expected, "{offer}");
            let Some((params, value)) = answer else { continue };
            assert_eq!(params.incoming_window_bits, 15);
            match offer.contains("server_max_window_bits=")
                && !offer.ends_with("permessage-deflate")
            {
                true => {
                    assert_eq!(value, format!("{ANSWER}; server_max_window_bits={}", bits.unwrap()))
                }
                false => assert_eq!(value, ANSWER),
            }
        }
    }

    #[test]
    fn answers_are_verified() {
        let params = |outgoing_window_bits, incoming_window_bits| {
            Ok(DeflateParams { outgoing_window_bits, incoming_window_bits })
        };
        let with = |parameters: &str| format!("{DEFLATE}; server_no_context_takeover{parameters}");
        let cases = [
            (ANSWER.to_owned(), params(15, 15)),
            (with(""), params(15, 15)),
            (with("; client_max_window_bits=9"), params(9, 15)),
            (with("; server_max_window_bits=10; client_max_window_bits=15"), params(15, 10)),
            (with("; server_max_window_bits=8"), params(15, 9)),
            (with("; client_max_window_bits=8"), Err(ExtensionError::Parameters)),
            (with("; client_max_window_bits"), Err(ExtensionError::Parameters)),
            (with("; server_max_window_bits"), Err(ExtensionError::Parameters)),
            (with("; server_max_window_bits=16"), Err(ExtensionError::Parameters)),
            (with("; server_no_context_takeover"), Err(ExtensionError::Parameters)),
            (with("; client_no_context_takeover=1"), Err(ExtensionError::Parameters)),
            (with("; unknown"), Err(ExtensionError::Parameters)),
            (DEFLATE.to_owned(), Err(ExtensionError::Parameters)),
            (with(", permessage-deflate"), Err(ExtensionError::NotOffered)),
            ("permessage-bzip2".to_owned(), Err(ExtensionError::NotOffered)),
        ];
        for (value, expected) in cases {
            assert_eq!(verify(&parse(value.as_bytes()).unwrap()), expected, "{value}");
        }
    }

    #[test]
    fn our_halves_agree_with_each_other() {
        let (server, value) = answer(&parse(OFFER.as_bytes()).unwrap()).unwrap();
        let client = verify(&parse(value.as_bytes()).unwrap()).unwrap();
        assert_eq!(server.outgoing_window_bits, client.incoming_window_bits);
        assert_eq!(server.incoming_window_bits, client.outgoing_window_bits);
    }
}
