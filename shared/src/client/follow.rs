//! Following the log: a stream that comes back by itself and never brings a row twice.
//!
//! The daemon writes server-sent events (WHATWG HTML, "Server-sent events"); what is read of them here
//! is what a daemon of ours sends: `id`, `event` and `data` lines, ended by an empty one.

use std::time::{Duration, Instant};

use futures_util::{Stream, stream::unfold};
use serde::Deserialize;

use super::{Client, Error, transport};
use crate::{
    error::Class,
    operations::log::{Event, StreamEvents},
    wire,
};

/// A daemon says at least every 16 s that it lives; twice that and a half is not there any more.
const SILENCE: Duration = Duration::from_secs(40);
/// The most bytes a frame may have.
const FRAME: usize = 8 << 20;
/// The first pause before another try, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A connection that lived so long was a good one: the next pause is the first again.
const LIVED: Duration = Duration::from_secs(5);

/// What happened while the log was followed.
#[derive(Debug)]
pub enum Followed {
    /// Connected: every row after this one will come.
    Live {
        /// The last row that was before.
        seq: i64,
    },
    /// A row, each once, in order.
    Row(Box<Event>),
    /// Nothing came; everything up to this row was looked at.
    Beat {
        /// That row.
        seq: i64,
    },
    /// The connection is gone; it is made again after this pause, from the last row on.
    Lost {
        /// Why.
        why: Error,
        /// How long it waits.
        wait: Duration,
    },
    /// It is over: the session ended, or the daemon refused for good.
    Ended(Error),
}

/// One frame.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frame {
    name: String,
    data: String,
    id: Option<i64>,
}

/// Cuts bytes into frames.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
    /// How far the bytes were searched for the end of a line.
    searched: usize,
    frame: Frame,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes.len() + self.frame.data.len() + bytes.len() > FRAME {
            return Err(Error::Protocol("a row of the stream is longer than 8 MiB".to_owned()));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole frame, if it is there.
    fn next(&mut self) -> Result<Option<Frame>, Error> {
        while let Some(length) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + length;
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            self.searched = 0;
            let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
            let line = std::str::from_utf8(line)
                .map_err(|_| Error::Protocol("the stream is not UTF-8".to_owned()))?;
            if line.is_empty() {
                let frame = std::mem::take(&mut self.frame);
                // nothing but a comment or a field that only browsers want
                if frame.name.is_empty() && frame.data.is_empty() {
                    continue;
                }
                return Ok(Some(frame));
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.frame.name),
                "id" => self.frame.id = value.parse().ok(),
                "data" => {
                    if !self.frame.data.is_empty() {
                        self.frame.data.push('\n');
                    }
                    self.frame.data.push_str(value);
                }
                // comments, `retry`, and what a later daemon may add
                _ => {}
            }
        }
        self.searched = self.bytes.len();
        Ok(None)
    }
}

#[derive(Deserialize)]
struct Seq {
    seq: i64,
}

#[derive(Deserialize)]
struct Bye {
    reason: String,
}

/// Where a follower is.
struct Follower {
    client: Client,
    op: StreamEvents,
    /// The last row that was brought or looked at.
    seen: Option<i64>,
    /// The connection, and what came of it.
    open: Option<(reqwest::Response, Frames)>,
    /// Tries since a connection lived for a while.
    tries: u32,
    /// Since when the connection lives.
    since: Option<Instant>,
    /// The stream ended for its token and brought nothing since.
    hasty: bool,
    /// A pause to make before the next try.
    wait: Option<Duration>,
    over: bool,
}

impl Client {
    /// Follows the log: rows as they are committed, each once and in order, whatever becomes of the
    /// connection. Begins after the row `op.after`, or with what is new. The stream ends only after
    /// [`Followed::Ended`]; drop it to stop.
    pub fn follow(&self, op: StreamEvents) -> impl Stream<Item = Followed> + Send + use<> {
        let follower = Follower {
            client: self.clone(),
            seen: op.after,
            op,
            open: None,
            tries: 0,
            since: None,
            hasty: false,
            wait: None,
            over: false,
        };
        unfold(follower, |mut follower| async move {
            if follower.over {
                return None;
            }
            let followed = follower.next().await;
            Some((followed, follower))
        })
    }
}

impl Follower {
    async fn next(&mut self) -> Followed {
        if let Some(wait) = self.wait.take() {
            tokio::time::sleep(wait).await;
        }
        loop {
            let step = match &mut self.open {
                None => self.connect().await.map(|()| None),
                Some(_) => self.read().await,
            };
            match step {
                Ok(Some(followed)) => return followed,
                Ok(None) => {}
                Err(why) => return self.lost(why),
            }
        }
    }

    fn lost(&mut self, why: Error) -> Followed {
        self.open = None;
        if self.since.take().is_some_and(|since| since.elapsed() >= LIVED) {
            self.tries = 0;
        }
        if is_final(&why) {
            self.over = true;
            return Followed::Ended(why);
        }
        let asked = match &why {
            Error::Api { retry_after, .. } => *retry_after,
            _ => None,
        };
        let (first, longest) = PAUSE;
        let wait = asked.unwrap_or(first * (1 << self.tries.min(10))).min(longest);
        self.tries += 1;
        self.wait = Some(wait);
        Followed::Lost { why, wait }
    }

    async fn connect(&mut self) -> Result<(), Error> {
        self.op.after = self.seen;
        let encoded = wire::encode(&self.op).map_err(|wrong| Error::Local(wrong.to_string()))?;
        let response = self.client.open_stream(encoded.target).await?;
        self.open = Some((response, Frames::default()));
        Ok(())
    }

    /// The next thing that is worth telling.
    async fn read(&mut self) -> Result<Option<Followed>, Error> {
        let Some((response, frames)) = &mut self.open else { return Ok(None) };
        let lost = |reason: String| Error::Unreachable { server: self.client.server().to_owned(), reason };
        let frame = loop {
            if let Some(frame) = frames.next()? {
                break frame;
            }
            match tokio::time::timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(bytes))) => frames.push(&bytes)?,
                Ok(Ok(None)) => return Err(lost("the stream ended".to_owned())),
                Ok(Err(wrong)) => return Err(lost(transport::chain(&wrong))),
                Err(_) => {
                    return Err(lost(format!("the stream was silent for {} s", SILENCE.as_secs())));
                }
            }
        };
        let unreadable = |wrong: serde_json::Error| {
            Error::Protocol(format!("a row of the stream cannot be read: {wrong}"))
        };
        let followed = match frame.name.as_str() {
            "hello" => {
                let Seq { seq } = serde_json::from_str(&frame.data).map_err(unreadable)?;
                // a connection that only says hello is no better than none
                self.since.get_or_insert_with(Instant::now);
                self.seen = Some(seq);
                Some(Followed::Live { seq })
            }
            "beat" => {
                self.hasty = false;
                let Seq { seq } = serde_json::from_str(&frame.data).map_err(unreadable)?;
                self.seen = self.seen.max(Some(seq));
                Some(Followed::Beat { seq })
            }
            "bye" => {
                let Bye { reason } = serde_json::from_str(&frame.data).map_err(unreadable)?;
                self.open = None;
                // a fresh token is fetched on the way back; whether there is one, the daemon says then. A
                // stream that ended as soon as it began would only do so again
                match reason.as_str() {
                    "token_expired" if !std::mem::replace(&mut self.hasty, true) => None,
                    _ => return Err(lost(format!("the daemon ended the stream: {reason}"))),
                }
            }
            _ => {
                self.hasty = false;
                let event: Event = serde_json::from_str(&frame.data).map_err(unreadable)?;
                let known = self.seen.is_some_and(|seen| event.seq <= seen);
                self.seen = self.seen.max(Some(event.seq));
                (!known).then(|| Followed::Row(Box::new(event)))
            }
        };
        Ok(followed)
    }
}

/// Whether it is of no use to come again.
fn is_final(why: &Error) -> bool {
    match why {
        Error::NotSignedIn | Error::Local(_) => true,
        Error::Api { error, .. } => {
            // an expired token was renewed once already, if it could be
            !matches!(error.code.class(), Class::Throttled | Class::Unavailable | Class::Internal)
        }
        Error::Unreachable { .. } | Error::Unknown { .. } | Error::Protocol(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt as _;
    use serde_json::json;

    use super::*;
    use crate::client::{
        Options,
        fake::{Fake, Said, refused},
        session::Store,
    };

    fn row(seq: i64) -> String {
        let event = json!({
            "id": "evt_01h455vb4pex5vsknk084sn02q", "seq": seq, "type": "user.updated",
            "timestamp": "2026-01-15T09:30:00.000000Z", "actor": {"id": null, "kind": "system", "ip": null},
            "requestId": "req_test", "resource": {"type": "user", "id": null, "version": null},
            "data": {}, "changes": null, "hash": "",
        });
        format!("id: {seq}\nevent: user.updated\ndata: {event}\n\n")
    }

    fn hello(seq: i64) -> String {
        format!("retry: 1000\nid: {seq}\nevent: hello\ndata: {{\"seq\":{seq}}}\n\n")
    }

    fn stream(text: String) -> Said {
        Some((200, vec![("content-type", "text/event-stream".to_owned())], text))
    }

    /// What comes of the answers in turn; the last one is given again and again.
    async fn follow(answers: Vec<Said>, count: usize) -> (Vec<String>, Fake) {
        let turn = AtomicUsize::new(0);
        let fake = Fake::start(move |_| {
            let turn = turn.fetch_add(1, Ordering::SeqCst);
            answers.get(turn).or(answers.last()).cloned().flatten()
        });
        let client = Client::new(&fake.server, Options::default()).unwrap();
        let client = client.with_session(Store::key(&"token".parse().unwrap()));
        let told = client.follow(StreamEvents::default()).take(count).map(|followed| match followed {
            Followed::Live { seq } => format!("live {seq}"),
            Followed::Row(event) => format!("row {}", event.seq),
            Followed::Beat { seq } => format!("beat {seq}"),
            Followed::Lost { .. } => "lost".to_owned(),
            Followed::Ended(why) => format!("ended {why}"),
        });
        (told.collect().await, fake)
    }

    #[tokio::test]
    async fn goes_on_after_the_last_row_and_brings_none_twice() {
        let cut = format!("{}{}{}", hello(4), row(5), &row(6)[..40]);
        let again = format!("{}{}{}: comment\n\n{}", hello(5), row(5), row(6), row(7));
        let (told, fake) = follow(vec![stream(cut), stream(again)], 6).await;
        assert_eq!(told, ["live 4", "row 5", "lost", "live 5", "row 6", "row 7"]);
        assert_eq!(fake.asked()[0].target, "/v1/events/stream");
        assert_eq!(fake.asked()[1].target, "/v1/events/stream?after=5");
    }

    #[tokio::test]
    async fn a_beat_moves_the_place_to_come_back_to() {
        let first = format!("{}id: 90\nevent: beat\ndata: {{\"seq\":90}}\n\n", hello(4));
        let (told, fake) = follow(vec![stream(first), stream(hello(90))], 4).await;
        assert_eq!(told, ["live 4", "beat 90", "lost", "live 90"]);
        assert_eq!(fake.asked()[1].target, "/v1/events/stream?after=90");
    }

    #[tokio::test]
    async fn an_expired_token_is_no_loss_and_a_revoked_session_is_the_end() {
        let bye = |reason: &str| format!("event: bye\ndata: {{\"reason\":\"{reason}\"}}\n\n");
        let (told, _) = follow(
            vec![
                stream(hello(1) + &bye("token_expired")),
                stream(hello(1) + &bye("session_revoked")),
                refused(401, "SESSION_REVOKED", &[]),
            ],
            9,
        )
        .await;
        assert_eq!(told[..3], ["live 1", "live 1", "lost"]);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[3].starts_with("ended"), "{told:?}");
    }

    #[tokio::test]
    async fn a_stream_that_only_ends_is_not_opened_again_and_again_at_once() {
        let bye = "event: bye\ndata: {\"reason\":\"token_expired\"}\n\n";
        let (told, _) = follow(vec![stream(hello(1) + bye)], 5).await;
        assert_eq!(told, ["live 1", "live 1", "lost", "live 1", "lost"]);
    }

    #[tokio::test]
    async fn one_that_says_hello_and_ends_is_opened_less_and_less_often() {
        let fake = Fake::start(|_| stream(hello(1)));
        let client = Client::new(&fake.server, Options::default()).unwrap();
        let client = client.with_session(Store::key(&"token".parse().unwrap()));
        let waits = client.follow(StreamEvents::default()).filter_map(|followed| async move {
            match followed {
                Followed::Lost { wait, .. } => Some(wait.as_millis()),
                _ => None,
            }
        });
        assert_eq!(waits.take(3).collect::<Vec<_>>().await, [250, 500, 1_000]);
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_renewed_is_the_end() {
        let (told, fake) = follow(vec![refused(401, "TOKEN_EXPIRED", &[])], 9).await;
        assert!(told.len() == 1 && told[0].starts_with("ended"), "{told:?}");
        assert_eq!(fake.asked().len(), 2);
    }

    #[tokio::test]
    async fn what_is_no_stream_is_lost_and_tried_again() {
        for bad in ["data: {}\nevent: user.updated\n\n", "event: hello\ndata: \u{0}\n\n", "event: hello\n\n"]
        {
            let (told, _) = follow(vec![stream(bad.to_owned()), stream(hello(1))], 2).await;
            assert_eq!(told, ["lost", "live 1"], "{bad:?}");
        }
        let (told, _) = follow(vec![None, refused(503, "OVERLOADED", &[]), stream(hello(1))], 3).await;
        assert_eq!(told, ["lost", "lost", "live 1"]);
    }

    #[test]
    fn frames_come_whole_however_their_bytes_are_cut() {
        let text = format!("{}{}", hello(4).replace('\n', "\r\n"), row(5));
        let mut whole = Frames::default();
        whole.push(text.as_bytes()).unwrap();
        let wanted = [whole.next().unwrap(), whole.next().unwrap()];
        assert_eq!(wanted[1].as_ref().unwrap().id, Some(5));
        for size in [1, 2, 3, 7] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for bytes in text.as_bytes().chunks(size) {
                frames.push(bytes).unwrap();
                found.extend(frames.next().unwrap());
            }
            assert_eq!(found.into_iter().map(Some).collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut frames = Frames::default();
        let piece = [b'x'; 1 << 20];
        assert!((0..9).any(|_| frames.push(&piece).is_err()));
    }
}
