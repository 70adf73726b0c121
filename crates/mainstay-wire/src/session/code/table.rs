//! Every word of a failure and of a gap. Made from `spec/codes.toml` by the tests of mainstay-tidy.

words! {
    /// Why a request failed or a frame could not be acted on.
    ErrorCode {
        HandlerFailed, "handler_failed", "The handler ran and refused or failed; its message says why.";
        Internal, "internal", "The handler ran and failed unexpectedly.";
        DeadlineExceeded, "deadline_exceeded", "The handler was stopped at its deadline; it may have done part of its work.";
        Cancelled, "cancelled", "The client took the request back; a handler that ran was stopped.";
        NeverRan, "never_ran", "The request did not run and never will.";
        Malformed, "malformed", "The frame or its payload is not what the protocol says.";
        InvalidChannel, "invalid_channel", "The channel's name is outside the grammar.";
        NotPermitted, "not_permitted", "The principal may not do this.";
        NotSubscribed, "not_subscribed", "The session does not listen to this channel.";
        TooManySubscriptions, "too_many_subscriptions", "The session listens to as many channels as it may.";
        TooManyChannels, "too_many_channels", "The server keeps as many channels as it may.";
        TooManySessions, "too_many_sessions", "The server, or this principal, has as many sessions as it may; come back later.";
        TooBig, "too_big", "The payload is over a limit of bytes.";
        InboxFull, "inbox_full", "The inbox holds as much as it may for one who does not read it.";
        KeyReused, "key_reused", "The idempotency key stands for another call; nothing was done.";
        Unreachable, "unreachable", "There is no such session, principal or connection.";
        Busy, "busy", "More is asked of the server than it can take; nothing was done, try again later.";
        StoreFailed, "store_failed", "The store could not keep it; nothing was done.";
    }
}

retryable! {
    NeverRan;
    TooManySessions;
    Busy;
    StoreFailed;
}

words! {
    /// Why events cannot be delivered.
    GapReason {
        Trimmed, "trimmed", "The events are older than the channel's history reaches.";
        Epoch, "epoch", "The log that the offset belonged to is gone, and another has begun.";
        Conflated, "conflated", "The subscription wants the latest event, and these were passed over.";
        Corrupt, "corrupt", "The store found the events damaged.";
    }
}
