//! What is sent, and whether what comes back answers it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use mainstay_wire::Message;
use mainstay_wire::command::CommandMessage;
use mainstay_wire::frame::{Compression, Opcode, encode_frame};

use super::round::{NUMBER_MIN, Rounds, Since};

/// One connection's requests: `depth` frames encoded once per thread and sent as a batch again and
/// again.
///
/// A batch goes out whole, and the next one when all of it is answered. So the server meets the same
/// shape of traffic however fast the client is, and a batch costs the client one write.
pub(super) struct Traffic {
    frames: Vec<u8>,
    frame_bytes: usize,
    depth: usize,
    content: Content,
}

enum Content {
    /// Each reply is the payload itself.
    Echo { opcode: Opcode, payload: Vec<u8> },
    /// Each reply repeats its request's number and says that it succeeded.
    Commands { number: MaskedNumber, reply: Option<Template> },
}

impl Traffic {
    /// Messages of `message_bytes` that come back as they went.
    pub(super) fn echo(opcode: Opcode, message_bytes: usize, depth: usize) -> Traffic {
        // Printable, so that it may be text, and of a period that no power of two divides, so that
        // bytes out of place are noticed.
        let payload: Vec<u8> = (b'!'..=b'}').cycle().take(message_bytes).collect();
        let frame = encode(opcode, &payload, mask_key());
        Traffic::new(frame, depth, Content::Echo { opcode, payload })
    }

    /// Requests of the command dialect, which differ only in their numbers.
    pub(super) fn commands(command: &str, some_other_thing: &str, depth: usize) -> Traffic {
        let request = CommandMessage {
            request_id: NUMBER_MIN as i64,
            command: command.into(),
            some_other_thing: some_other_thing.into(),
            success: false,
        };
        let mut json = Vec::new();
        request.write(&mut json);
        let key = mask_key();
        let frame = encode(Opcode::Text, &json, key);
        let payload_start = frame.len() - json.len();
        let digits_start = find(&json, &digits_of(NUMBER_MIN)).unwrap_or_default();
        let number = MaskedNumber::new(payload_start, digits_start, key);
        Traffic::new(frame, depth, Content::Commands { number, reply: None })
    }

    fn new(frame: Vec<u8>, depth: usize, content: Content) -> Traffic {
        Traffic { frame_bytes: frame.len(), frames: frame.repeat(depth), depth, content }
    }

    /// How many requests a batch has.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The frames of the next batch of a connection, ready to be written.
    pub(super) fn next_batch(&mut self, rounds: &mut Rounds, since: Since) -> &[u8] {
        let first_number = rounds.begin(self.depth, since);
        if let Content::Commands { number, .. } = &self.content {
            for (index, frame) in self.frames.chunks_exact_mut(self.frame_bytes).enumerate() {
                number.patch(frame, first_number + index as u64);
            }
        }
        &self.frames
    }

    /// Checks a message against what was asked, and tells since when that waited. A wrong reply
    /// counts as an answer too, or the connection would wait for ever.
    pub(super) fn check(
        &mut self,
        message: &Message<'_>,
        rounds: &mut Rounds,
    ) -> Result<Since, Wrong> {
        let nothing_sent = || Wrong("a message that nothing was sent for".to_owned());
        if rounds.is_over() {
            return Err(nothing_sent());
        }
        let checked = match &mut self.content {
            Content::Echo { opcode, payload } => match check_echo(*opcode, payload, message) {
                Ok(()) => return rounds.answer_next().ok_or_else(nothing_sent),
                Err(wrong) => Err(wrong),
            },
            Content::Commands { reply, .. } => {
                check_command(reply, message).and_then(|number| rounds.answer(number))
            }
        };
        if checked.is_err() {
            rounds.answer_next();
        }
        checked
    }
}

/// A reply that is not the one to be expected, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

/// Where a request's number stands in its frame. All numbers have as many digits, so that only the
/// digits change from batch to batch.
struct MaskedNumber {
    start: usize,
    /// The masking key, turned so that its first byte falls on the first digit.
    key: [u8; 4],
}

impl MaskedNumber {
    fn new(payload_start: usize, digits_start: usize, mut key: [u8; 4]) -> MaskedNumber {
        key.rotate_left(digits_start % 4);
        MaskedNumber { start: payload_start + digits_start, key }
    }

    fn patch(&self, frame: &mut [u8], number: u64) {
        let digits = digits_of(number);
        let place = frame.get_mut(self.start..).unwrap_or_default();
        for ((byte, digit), mask) in place.iter_mut().zip(digits).zip(self.key.iter().cycle()) {
            *byte = digit ^ mask;
        }
    }
}

/// A reply that was read in full and found right. Another one with the same bytes around its
/// number is right too, and found so without parsing.
struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Template {
    fn learn(reply: &[u8], number: u64) -> Option<Template> {
        let digits = digits_of(number);
        let start = find(reply, &digits)?;
        let (before, rest) = reply.split_at(start);
        let after = rest.get(DIGIT_COUNT..)?;
        // Were the number there twice, the two could not be told apart.
        find(after, &digits)
            .is_none()
            .then(|| Template { before: before.into(), after: after.into() })
    }

    fn number(&self, reply: &[u8]) -> Option<u64> {
        let digits = reply.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        if digits.len() != DIGIT_COUNT {
            return None;
        }
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
        })
    }
}

fn check_echo(opcode: Opcode, payload: &[u8], message: &Message<'_>) -> Result<(), Wrong> {
    let echo = match (opcode, message) {
        (Opcode::Text, Message::Text(text)) => text.as_bytes(),
        (_, Message::Binary(bytes)) if opcode != Opcode::Text => bytes,
        _ => return Err(Wrong("an echo of another message type".to_owned())),
    };
    if echo == payload {
        return Ok(());
    }
    Err(Wrong(match echo.len() == payload.len() {
        true => "an echo with other bytes".to_owned(),
        false => format!("an echo of {} bytes instead of {}", echo.len(), payload.len()),
    }))
}

/// The number of the request that a reply answers.
fn check_command(template: &mut Option<Template>, message: &Message<'_>) -> Result<u64, Wrong> {
    let reply = match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => return Err(Wrong("a control frame as a reply".to_owned())),
    };
    if let Some(number) = template.as_ref().and_then(|template| template.number(reply)) {
        return Ok(number);
    }
    let parsed = CommandMessage::parse(reply).map_err(|error| Wrong(error.to_string()))?;
    if !parsed.success {
        let result = parsed.some_other_thing;
        return Err(Wrong(format!("a reply without success: {result:?}")));
    }
    let number = u64::try_from(parsed.request_id).unwrap_or_default();
    *template = Template::learn(reply, number);
    Ok(number)
}

fn encode(opcode: Opcode, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(opcode, Compression::Plain, Some(key), payload, &mut frame);
    frame
}

/// One key for all of a run's frames. RFC 6455 §5.3 asks for a fresh one per frame, so that a web
/// page cannot choose the bytes that a proxy sees; here nobody chooses and no proxy listens, and
/// the server has the same work with any key.
fn mask_key() -> [u8; 4] {
    // No zero byte, which would leave part of the payload as it is.
    let [a, b, c, d, ..] = RandomState::new().hash_one("mask").to_ne_bytes();
    [a | 1, b | 1, c | 1, d | 1]
}

fn digits_of(number: u64) -> [u8; DIGIT_COUNT] {
    let mut digits = [b'0'; DIGIT_COUNT];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Of every request's number.
const DIGIT_COUNT: usize = 10;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mainstay_wire::deflate::Inflater;
    use mainstay_wire::{Limits, Reader, Role};

    use super::*;

    /// What a server reads of a batch.
    fn received(batch: &[u8]) -> Vec<Vec<u8>> {
        let (mut bytes, mut inflater) = (batch.to_vec(), Inflater::default());
        let mut reader = Reader::new(Role::Client, Compression::Plain);
        let mut input = &mut bytes[..];
        let mut messages = Vec::new();
        while let Some(message) =
            reader.read(&mut input, &Limits::default(), &mut inflater).expect("valid frames")
        {
            messages.push(match message {
                Message::Text(text) => text.as_bytes().to_vec(),
                Message::Binary(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            });
        }
        assert!(!reader.is_in_message(), "no frame is cut");
        messages
    }

    fn reply(number: u64, success: bool) -> Message<'static> {
        let text = "Server processed command: x";
        Message::Text(
            format!(
                r#"{{"requestID":{number},"command":"x","someOtherThing":"{text}","success":{success}}}"#
            )
            .into(),
        )
    }

    fn since() -> Since {
        Since { at: Instant::now(), is_measured: true }
    }

    fn wrong(result: Result<Since, Wrong>) -> String {
        result.expect_err("a wrong reply").0
    }

    #[test]
    fn requests_are_numbered_from_batch_to_batch() {
        let mut traffic = Traffic::commands("Pause \"it\"", "now", 3);
        let mut rounds = Rounds::default();
        for first in [1_000_000_000, 1_000_000_003, 1_000_000_006] {
            let batch = received(traffic.next_batch(&mut rounds, since()));
            let numbers: Vec<_> = batch
                .iter()
                .map(|json| {
                    let request = CommandMessage::parse(json).unwrap();
                    assert_eq!(
                        (&*request.command, &*request.some_other_thing),
                        ("Pause \"it\"", "now")
                    );
                    request.request_id
                })
                .collect();
            assert_eq!(numbers, [first, first + 1, first + 2]);
        }
    }

    #[test]
    fn echoes_are_compared_whole() {
        let mut traffic = Traffic::echo(Opcode::Binary, 64, 4);
        let mut rounds = Rounds::default();
        let sent = received(traffic.next_batch(&mut rounds, since()));
        assert_eq!((sent.len(), sent[0].len()), (4, 64));
        let mut check = |message| traffic.check(&message, &mut rounds);
        assert!(check(Message::Binary(sent[0].clone().into())).is_ok());
        let mut other = sent[0].clone();
        other[40] ^= 1;
        assert_eq!(wrong(check(Message::Binary(other.into()))), "an echo with other bytes");
        let short = check(Message::Binary(sent[0][1..].to_vec().into()));
        assert_eq!(wrong(short), "an echo of 63 bytes instead of 64");
        let text = String::from_utf8(sent[0].clone()).unwrap();
        assert_eq!(wrong(check(Message::Text(text.into()))), "an echo of another message type");
        assert!(rounds.is_over(), "wrong replies are answers too");
        let surplus = traffic.check(&Message::Binary(sent[0].clone().into()), &mut rounds);
        assert_eq!(wrong(surplus), "a message that nothing was sent for");
    }

    #[test]
    fn command_replies_are_matched_by_number_in_any_order() {
        let mut traffic = Traffic::commands("x", "", 3);
        let mut rounds = Rounds::default();
        for first in [1_000_000_000, 1_000_000_003] {
            traffic.next_batch(&mut rounds, since());
            for number in [first + 2, first, first + 1] {
                assert!(!rounds.is_over());
                assert!(traffic.check(&reply(number, true), &mut rounds).is_ok());
            }
            assert!(rounds.is_over());
        }
    }

    #[test]
    fn wrong_command_replies_are_noticed_before_and_after_the_first_right_one() {
        let mut traffic = Traffic::commands("x", "", 9);
        let mut rounds = Rounds::default();
        traffic.next_batch(&mut rounds, since());
        let mut check = |message| traffic.check(&message, &mut rounds);
        let first = 1_000_000_000;
        for number in [first, first + 1] {
            assert!(wrong(check(reply(first + 9, true))).contains("not open"));
            assert!(wrong(check(reply(number, false))).contains("without success"));
            assert!(wrong(check(Message::Text("oops".into()))).contains("malformed"));
            assert!(check(reply(number, true)).is_ok());
        }
        assert!(wrong(check(reply(first, true))).contains("second reply"));
    }

    #[test]
    fn a_template_stands_for_replies_that_differ_in_the_number_alone() {
        let template = Template::learn(b"<1000000000>", NUMBER_MIN).unwrap();
        assert_eq!(template.number(b"<1000000001>"), Some(1_000_000_001));
        for other in [&b"<100000001>"[..], b"<1000000001]", b"<10000000x1>", b"<>", b""] {
            assert_eq!(template.number(other), None);
        }
        assert!(Template::learn(b"1000000000 1000000000", NUMBER_MIN).is_none());
        assert!(Template::learn(b"1e9", NUMBER_MIN).is_none());
    }
}
