//! What the server says on an open connection.

use mainstay_wire::session::{ClientFrame, Problem, ServerFrame};

use super::{ClientEvent, ClientSession};

impl ClientSession {
    pub(super) fn handle_open_frame(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Welcome(_) => self.fault("a second welcome"),
            ServerFrame::Reply(reply) => self.handle_reply(reply),
            ServerFrame::Request(request) => self.handle_command(request),
            ServerFrame::Cancel { number } => self.handle_command_cancel(number),
            ServerFrame::Ack { number } => self.handle_answers_safe(number),
            ServerFrame::Subscribed(subscribed) => self.handle_subscribed(subscribed),
            ServerFrame::Unsubscribed(unsubscribed) => self.handle_unsubscribed(unsubscribed),
            ServerFrame::Event(event) => self.handle_event(event),
            ServerFrame::Gap(gap) => self.handle_gap(gap),
            ServerFrame::Presence(presence) => self.handle_presence(presence),
            ServerFrame::Ping => self.transmit(ClientFrame::Pong),
            ServerFrame::Pong => {}
            ServerFrame::Goaway(goaway) => {
                self.schedule_move(goaway.window_ms);
                self.tell(ClientEvent::Goaway(goaway));
            }
            ServerFrame::Problem(problem) => self.handle_problem(problem),
        }
    }

    fn handle_problem(&mut self, problem: Problem) {
        self.tell(ClientEvent::Problem(problem.clone()));
        if let Some(channel) = problem.channel {
            self.handle_refused_wish(channel, problem.failure);
        }
    }
}
