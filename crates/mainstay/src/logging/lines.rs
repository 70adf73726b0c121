//! A layer that writes each event as one line.
//!
//! Values are kept as they are, cut to a length, and escaped only when the line is written: there
//! is one place where text enters a line, and it is [`Line`].

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::escape;

/// Writes each event to what `make_writer` gives, in one write.
pub(super) struct Lines<W> {
    style: Style,
    make_writer: W,
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For people.
    Plain,
    /// For people at a terminal.
    Coloured,
    /// A JSON object.
    Json,
}

impl<W> Lines<W> {
    pub(super) fn new(style: Style, make_writer: W) -> Lines<W> {
        Lines { style, make_writer }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let Some(span) = context.span(id) else { return };
        let mut values = Values::default();
        attributes.record(&mut values);
        span.extensions_mut().insert(values);
    }

    fn on_record(&self, id: &span::Id, record: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(values) = span.extensions_mut().get_mut::<Values>() {
            record.record(values);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut values = Values::default();
        event.record(&mut values);
        let mut line = Line { text: String::with_capacity(256), style: self.style };
        line.begin(event.metadata(), values.message.as_deref().unwrap_or_default());
        line.values(&values.fields);
        line.begin_spans();
        for (index, span) in context.event_scope(event).into_iter().flatten().enumerate() {
            let extensions = span.extensions();
            let fields = extensions.get::<Values>().map_or(&[][..], |values| &values.fields);
            line.span(index, span.name(), fields);
        }
        line.end(event.metadata());
        // A log that cannot be written is no reason to stop serving.
        let _ = self.make_writer.make_writer_for(event.metadata()).write_all(line.text.as_bytes());
    }
}

/// The fields of an event or a span, at most [`VALUE_CHARACTERS_MAX`] long each, not yet escaped.
#[derive(Default)]
struct Values {
    message: Option<String>,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    /// A number or a boolean: the same in every style, and safe.
    Plain(String),
    /// Anything else.
    Text(String),
}

impl Values {
    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            (MESSAGE, Value::Text(text) | Value::Plain(text)) => self.message = Some(text),
            (name, value) => match self.fields.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => self.fields.push((name, value)),
            },
        }
    }
}

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Capped::new(field);
        // The error says that the cap was reached: the rest is not even formatted.
        let _ = write!(text, "{value:?}");
        self.set(field, Value::Text(text.text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Capped::new(field);
        let _ = text.write_str(value);
        self.set(field, Value::Text(text.text));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = Capped::new(field);
        let mut written = write!(text, "{value}");
        let mut source = value.source();
        while let (Ok(()), Some(error)) = (written, source) {
            written = write!(text, ": {error}");
            source = error.source();
        }
        self.set(field, Value::Text(text.text));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Plain(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Plain(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN (RFC 8259 section 6).
        let text = value.to_string();
        self.set(field, if value.is_finite() { Value::Plain(text) } else { Value::Text(text) });
    }
}

/// Takes text up to a number of characters, then a mark and no more.
struct Capped {
    text: String,
    room: usize,
}

impl Capped {
    fn new(field: &Field) -> Capped {
        let room = match field.name() {
            MESSAGE => MESSAGE_CHARACTERS_MAX,
            BACKTRACE => BACKTRACE_CHARACTERS_MAX,
            _ => VALUE_CHARACTERS_MAX,
        };
        Capped { text: String::new(), room }
    }
}

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.room == 0 {
                self.text.push(CUT);
                return Err(fmt::Error);
            }
            self.text.push(character);
            self.room -= 1;
        }
        Ok(())
    }
}

/// The line as it grows.
struct Line {
    text: String,
    style: Style,
}

impl Line {
    fn begin(&mut self, metadata: &Metadata<'_>, message: &str) {
        match self.style {
            Style::Json => {
                self.text.push_str("{\"timestamp\":\"");
                self.timestamp();
                let _ = write!(self.text, "\",\"level\":\"{}\",\"target\":", metadata.level());
                escape::push_json(&mut self.text, metadata.target());
                self.text.push_str(",\"message\":");
                escape::push_json(&mut self.text, message);
                self.text.push_str(",\"fields\":{");
            }
            Style::Plain | Style::Coloured => {
                self.colour(DIM);
                self.timestamp();
                self.colour(RESET);
                self.colour(level_colour(*metadata.level()));
                let _ = write!(self.text, " {:5} ", metadata.level());
                self.colour(RESET);
                escape::push_visible(&mut self.text, message);
            }
        }
    }

    fn values(&mut self, fields: &[(&'static str, Value)]) {
        for (index, (name, value)) in fields.iter().enumerate() {
            match self.style {
                Style::Json => {
                    self.separator(index);
                    escape::push_json(&mut self.text, name);
                    self.text.push(':');
                }
                Style::Plain | Style::Coloured => {
                    self.text.push(' ');
                    self.colour(DIM);
                    escape::push_visible(&mut self.text, name);
                    self.text.push('=');
                    self.colour(RESET);
                }
            }
            match value {
                Value::Plain(text) => self.text.push_str(text),
                Value::Text(text) if self.style == Style::Json => {
                    escape::push_json(&mut self.text, text);
                }
                Value::Text(text) if stands_alone(text) => self.text.push_str(text),
                Value::Text(text) => escape::push_quoted(&mut self.text, text),
            }
        }
    }

    fn begin_spans(&mut self) {
        if self.style == Style::Json {
            self.text.push_str("},\"spans\":[");
        }
    }

    /// The innermost span comes first.
    fn span(&mut self, index: usize, name: &str, fields: &[(&'static str, Value)]) {
        match self.style {
            Style::Json => {
                self.separator(index);
                self.text.push_str("{\"name\":");
                escape::push_json(&mut self.text, name);
                self.text.push_str(",\"fields\":{");
                self.values(fields);
                self.text.push_str("}}");
            }
            Style::Plain | Style::Coloured => {
                self.colour(DIM);
                self.text.push_str(" in ");
                self.colour(RESET);
                escape::push_visible(&mut self.text, name);
                self.values(fields);
            }
        }
    }

    fn end(&mut self, metadata: &Metadata<'_>) {
        match self.style {
            Style::Json => self.text.push_str("]}\n"),
            Style::Plain | Style::Coloured => {
                self.colour(DIM);
                self.text.push_str(" (");
                escape::push_visible(&mut self.text, metadata.target());
                self.text.push(')');
                self.colour(RESET);
                self.text.push('\n');
            }
        }
    }

    fn timestamp(&mut self) {
        let _ = SystemTime.format_time(&mut Writer::new(&mut self.text));
    }

    fn separator(&mut self, index: usize) {
        if index > 0 {
            self.text.push(',');
        }
    }

    fn colour(&mut self, code: &str) {
        if self.style == Style::Coloured {
            self.text.push_str(code);
        }
    }
}

/// Whether a value can be told from what follows it without quotes.
fn stands_alone(text: &str) -> bool {
    let delimits =
        |c: char| c.is_whitespace() || escape::is_unsafe(c) || matches!(c, '"' | '\\' | '=');
    !text.is_empty() && !text.contains(delimits)
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// The field that `tracing` keeps an event's message in.
const MESSAGE: &str = "message";
const BACKTRACE: &str = "backtrace";

/// Stands where a value was cut.
const CUT: char = '…';

/// A name, a URL or an error fits; a payload does not.
const VALUE_CHARACTERS_MAX: usize = 256;
/// Messages are written by us and may hold an error or two.
const MESSAGE_CHARACTERS_MAX: usize = 1_024;
/// About 150 frames; no stranger has a say in them.
const BACKTRACE_CHARACTERS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What is written while `act` runs.
    fn logged(style: Style, act: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = Lines::new(style, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), act);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    fn hostile() -> Vec<char> {
        let turning = "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\
                       \u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        ('\0'..' ').chain('\u{7f}'..='\u{9f}').chain(turning.chars()).collect()
    }

    #[test]
    fn no_control_character_reaches_the_log_and_json_parses() {
        for style in [Style::Plain, Style::Json] {
            for character in hostile() {
                let text = format!("a{character}b");
                let lines = logged(style, || {
                    tracing::info!("message {text}");
                    tracing::info!(text, "string field");
                    tracing::info!(%text, "displayed field");
                    tracing::info!(list = ?[&text], "debugged field");
                    let error = io::Error::other(text.clone());
                    tracing::info!(error = &error as &dyn std::error::Error, "error field");
                    let span = tracing::info_span!("span", text, later = tracing::field::Empty);
                    span.record("later", &text);
                    span.in_scope(|| tracing::info!("span fields"));
                });
                let code = u32::from(character);
                assert_eq!(lines.matches('\n').count(), 6, "U+{code:04X} {style:?}: {lines:?}");
                let raw = |c: char| c != '\n' && hostile().contains(&c);
                assert!(!lines.contains(raw), "U+{code:04X} {style:?}: {lines:?}");
                if style == Style::Json {
                    check_json(&lines, &text);
                }
            }
        }
    }

    /// Every line parses and holds the text unharmed where it was put.
    #[track_caller]
    fn check_json(lines: &str, text: &str) {
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert_eq!(lines[0]["message"], format!("message {text}"));
        assert_eq!(lines[1]["fields"]["text"], text);
        assert_eq!(lines[2]["fields"]["text"], text);
        assert_eq!(lines[4]["fields"]["error"], text);
        assert_eq!(lines[5]["spans"][0]["fields"]["text"], text);
        assert_eq!(lines[5]["spans"][0]["fields"]["later"], text);
    }

    #[test]
    fn a_line_for_people() {
        let lines = logged(Style::Plain, || {
            tracing::warn!(
                count = 3,
                ratio = 0.5,
                done = true,
                peer = "::1",
                name = "a \"b\"",
                "hi"
            );
        });
        let (_, rest) = lines.split_once(' ').unwrap();
        let expected = concat!(
            " WARN hi count=3 ratio=0.5 done=true peer=::1 name=\"a \\\"b\\\"\" (",
            module_path!(),
            ")\n"
        );
        assert_eq!(format!(" {rest}").replace("  ", " "), expected);
    }

    #[test]
    fn a_value_cannot_pretend_to_be_two() {
        let lines = logged(Style::Plain, || tracing::info!(name = "x admin=true", "hi"));
        assert!(lines.contains("name=\"x admin=true\""), "{lines}");
    }

    #[test]
    fn long_values_are_cut() {
        let long = "é".repeat(100_000);
        for style in [Style::Plain, Style::Json] {
            let lines = logged(style, || {
                tracing::info!(long, "string");
                tracing::info!(%long, "displayed");
                tracing::info!("{long}");
            });
            let lengths: Vec<usize> = lines.lines().map(|line| line.matches('é').count()).collect();
            let (value, message) = (VALUE_CHARACTERS_MAX, MESSAGE_CHARACTERS_MAX);
            assert_eq!(lengths, [value, value, message]);
            assert_eq!(lines.matches(CUT).count(), 3);
        }
        let lines = logged(Style::Json, || tracing::info!(exact = "x".repeat(256), "hi"));
        assert!(!lines.contains(CUT), "{lines}");
    }

    #[test]
    fn numbers_stay_numbers_in_json_and_odd_ones_stay_valid() {
        let lines = logged(Style::Json, || {
            tracing::info!(big = u64::MAX, small = i64::MIN, yes = true, odd = f64::NAN, "hi");
        });
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["fields"]["big"], u64::MAX);
        assert_eq!(line["fields"]["small"], i64::MIN);
        assert_eq!(line["fields"]["yes"], true);
        assert_eq!(line["fields"]["odd"], "NaN");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn only_our_own_colours_reach_a_terminal() {
        let lines =
            logged(Style::Coloured, || tracing::info!(name = "\u{1b}[31m", "\u{1b}]0;x\u{7}"));
        let without_colours = ["2", "0", "32"]
            .iter()
            .fold(lines, |line, code| line.replace(&format!("\u{1b}[{code}m"), ""));
        assert!(!without_colours.trim_end().contains(char::is_control), "{without_colours:?}");
    }
}
