//! Our Protobuf is what the schema says, as a library reads it that knows nothing but the schema.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_wire::session::Encoding;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use serde_json::{Map, Value as Json, json};

use crate::samples;

#[test]
fn every_frame_says_the_same_in_both_encodings() {
    let client = message("mainstay.v1.ClientFrame");
    let server = message("mainstay.v1.ServerFrame");
    let mut seen = Vec::new();
    for (name, frame) in samples::client_frames() {
        let (mut text, mut bytes) = (Vec::new(), Vec::new());
        Encoding::Json.encode_client(&frame, &mut text);
        Encoding::Protobuf.encode_client(&frame, &mut bytes);
        seen.push(check(name, &client, &text, &bytes));
    }
    for (name, frame) in samples::server_frames() {
        let (mut text, mut bytes) = (Vec::new(), Vec::new());
        Encoding::Json.encode_server(&frame, &mut text);
        Encoding::Protobuf.encode_server(&frame, &mut bytes);
        seen.push(check(name, &server, &text, &bytes));
    }
    for descriptor in [client, server] {
        for field in descriptor.fields() {
            let name = (descriptor.name().to_owned(), field.name().to_owned());
            assert!(seen.contains(&name), "no sample is {name:?}");
        }
    }
}

/// Compares the JSON that we write with what the schema's reader sees in the Protobuf; the two
/// differ only as [`as_json`] says. Gives the frame's place in the schema.
fn check(
    name: &str,
    descriptor: &MessageDescriptor,
    text: &[u8],
    bytes: &[u8],
) -> (String, String) {
    let read = DynamicMessage::decode(descriptor.clone(), bytes).expect("decodes");
    assert!(unknown_fields(&read).is_empty(), "{name}: {read:?}");
    let fields: Vec<_> = read.fields().collect();
    let [(field, Value::Message(frame))] = &fields[..] else { panic!("{name}: one frame") };
    let mut seen = frame_fields(field.name(), frame);
    seen.insert("type".to_owned(), field.name().into());
    let written: Json = serde_json::from_slice(text).expect("JSON");
    assert_eq!(Json::Object(seen), written, "{name}");
    (descriptor.name().to_owned(), field.name().to_owned())
}

fn frame_fields(kind: &str, frame: &DynamicMessage) -> Map<String, Json> {
    let mut fields = as_json(frame);
    // A oneof stands in JSON as a word with its fields beside it, or as an object.
    if kind == "reply" {
        let status = ["done", "published", "failed", "indeterminate"]
            .into_iter()
            .find_map(|word| fields.remove(word).map(|outcome| (word, outcome)));
        let (word, outcome) = status.expect("an outcome");
        fields.insert("status".to_owned(), word.into());
        fields.extend(outcome.as_object().expect("fields").clone());
    }
    if kind == "subscribe" {
        let start = match (fields.remove("now"), fields.remove("after"), fields.remove("last")) {
            (Some(_), None, None) => json!("now"),
            (None, Some(after), None) => after,
            (None, None, Some(last)) => json!({ "last": last }),
            other => panic!("{other:?}"),
        };
        fields.insert("start".to_owned(), start);
    }
    fields
}

/// The fields under the schema's names: those without presence always, enums as the words of JSON
/// unless they are the default, payloads as in JSON.
fn as_json(message: &DynamicMessage) -> Map<String, Json> {
    let mut object = Map::new();
    for field in message.descriptor().fields() {
        let value = message.get_field(&field);
        let is_oneof_or_optional = field.supports_presence();
        if is_oneof_or_optional && !message.has_field(&field) {
            continue;
        }
        let name = field.name().to_owned();
        match &*value {
            Value::Message(payload) if payload.descriptor().name() == "Payload" => {
                let data = payload.get_field_by_name("data").expect("data").into_owned();
                let data = data.as_bytes().expect("bytes").clone();
                match payload.get_field_by_name("json").expect("json").as_bool() {
                    Some(true) => {
                        let value = serde_json::from_slice(&data).expect("JSON");
                        object.insert("payload".to_owned(), value);
                    }
                    _ => {
                        object.insert("data".to_owned(), STANDARD.encode(&data).into());
                    }
                }
            }
            Value::EnumNumber(0) => {}
            Value::EnumNumber(number) => {
                let kind = field.kind();
                let kind = kind.as_enum().expect("an enum");
                let word = kind.get_value(*number).expect("a value of the schema");
                let word = word.name().to_lowercase();
                let prefix =
                    if kind.name() == "PresenceMode" { "presence_mode" } else { field.name() };
                let word = word.strip_prefix(prefix).and_then(|word| word.strip_prefix('_'));
                object.insert(name, word.expect("the enum's name in front").into());
            }
            value => {
                object.insert(name, plain(value));
            }
        }
    }
    object
}

fn plain(value: &Value) -> Json {
    match value {
        Value::U32(number) => (*number).into(),
        Value::U64(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Message(message) => as_json(message).into(),
        other => panic!("no frame holds {other:?}"),
    }
}

fn unknown_fields(message: &DynamicMessage) -> Vec<String> {
    let mut unknown: Vec<_> = message.unknown_fields().map(|field| format!("{field:?}")).collect();
    for (_, value) in message.fields() {
        let items = match value {
            Value::List(items) => items.as_slice(),
            value => std::slice::from_ref(value),
        };
        for item in items {
            unknown.extend(item.as_message().into_iter().flat_map(unknown_fields));
        }
    }
    unknown
}

fn message(name: &str) -> MessageDescriptor {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec");
    let files = protox::compile(["mainstay.v1.proto"], [folder]).expect("the schema compiles");
    let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(files).expect("a pool");
    pool.get_message_by_name(name).expect("in the schema")
}
