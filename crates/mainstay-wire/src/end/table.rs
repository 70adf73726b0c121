//! Every end of a connection. Made from `spec/codes.toml` by the tests of mainstay-tidy.

use super::Advice;

end_reasons! {
    PeerClosed, "peer_closed", None, Resume,
        "The peer closed with a Close frame; its code is echoed.";
    PeerEof, "peer_eof", None, Resume,
        "The peer's TCP stream ended without a Close frame: its process exited, or it dropped the socket after a message.";
    PeerEofInMessage, "peer_eof_in_message", None, Resume,
        "The peer's TCP stream ended in the middle of a message.";
    PeerReset, "peer_reset", None, Resume,
        "The peer, or something between, reset the TCP connection.";
    IdleCut, "idle_cut", None, Resume,
        "The connection was cut without a Close frame after a long silence both ways: a proxy's idle timeout is likely.";
    PingTimeout, "ping_timeout", Some(4000), Resume,
        "Not one byte came within the pong timeout after a ping.";
    WriteStalled, "write_stalled", Some(4001), Resume,
        "The peer's socket took not one byte for the write stall timeout.";
    SlowConsumer, "slow_consumer", Some(4002), Resume,
        "An event did not fit into the outbox: the peer reads more slowly than its channels speak.";
    MessageTimeout, "message_timeout", Some(4003), Resume,
        "One message took longer than the message timeout to arrive.";
    ControlFlood, "control_flood", Some(4004), Resume,
        "The peer sent more control frames than the limit allows.";
    ProtocolError, "protocol_error", Some(1002), Resume,
        "The peer broke the WebSocket protocol.";
    InvalidPayload, "invalid_payload", Some(1007), Resume,
        "A text message was not UTF-8, or a compressed message did not inflate.";
    MessageTooBig, "message_too_big", Some(1009), Resume,
        "A message was over the limit of bytes.";
    TooManyFragments, "too_many_fragments", Some(1009), Resume,
        "A message had more fragments than the limit.";
    LocalClose, "local_close", Some(1000), None,
        "This side's application closed the connection.";
    Drain, "drain", Some(1001), Resume,
        "The server is shutting down and asked its clients to move.";
    CloseTimeout, "close_timeout", None, Resume,
        "The peer did not finish the closing handshake within the close timeout.";
    IoError, "io_error", None, Resume,
        "The operating system reported an error on the socket.";
    HandshakeTimeout, "handshake_timeout", None, Resume,
        "The opening handshake was not complete within the handshake timeout.";
    HandshakeRefused, "handshake_refused", None, Resume,
        "The opening handshake was malformed or not acceptable; the HTTP answer says why.";
    HandshakeEof, "handshake_eof", None, Resume,
        "The peer went away before its opening handshake was complete.";
    OverCapacity, "over_capacity", None, Resume,
        "The server holds as many connections as it may, in all or from this address; it answered 503 or 429.";
    Superseded, "superseded", Some(4200), Stop,
        "Another connection has taken the session over.";
    SessionViolation, "session_violation", Some(4201), Stop,
        "The client broke the session dialect.";
    Disconnected, "disconnected", Some(4202), Stop,
        "An operator ended the session.";
    ResumeRefused, "resume_refused", Some(4100), StartFresh,
        "The session exists, and its token or principal is another.";
    HelloTimeout, "hello_timeout", Some(4005), Resume,
        "No hello came in time after the handshake.";
    SessionEnded, "session_ended", Some(1000), None,
        "The client said goodbye to its session.";
    StoreFailed, "store_failed", Some(1011), Resume,
        "The store failed; the server is stopping.";
    ServerBehind, "server_behind", Some(1013), Resume,
        "The server cannot take more sessions now.";
}
