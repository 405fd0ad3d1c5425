//! Reading the body of a request: not too much, not too slowly.

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// It has, or says that it has, more bytes than allowed.
    TooLarge,
    /// It was not there in time.
    TooSlow,
    /// The client went away, or its chunks are not HTTP.
    Broken,
}

/// The whole body, at most `limit` bytes, all there at `deadline`.
///
/// # Errors
/// A body that announces too much is refused before a byte of it is read.
pub async fn read(mut body: Body, limit: usize, deadline: Instant) -> Result<Bytes, ReadError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(ReadError::TooLarge);
    }
    let (mut first, mut rest) = (Bytes::new(), Vec::new());
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(ReadError::TooSlow),
            Ok(Some(Err(_))) => return Err(ReadError::Broken),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) if rest.is_empty() => return Ok(first),
            Ok(None) => return Ok(rest.into()),
        };
        // trailers say nothing to us
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit.saturating_sub(first.len().max(rest.len())) {
            return Err(ReadError::TooLarge);
        }
        // nearly every body is one piece, which is not copied
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use futures_util::{StreamExt, stream};

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn pieces(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|&piece| Ok::<_, Infallible>(piece)).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn reads_up_to_the_limit() {
        assert_eq!(read(Body::empty(), 0, later()).await, Ok(Bytes::new()));
        assert_eq!(read(Body::from("12345"), 5, later()).await, Ok("12345".into()));
        assert_eq!(read(Body::from("123456"), 5, later()).await, Err(ReadError::TooLarge));
        assert_eq!(read(pieces(&["12", "3", "45"]), 5, later()).await, Ok("12345".into()));
        assert_eq!(read(pieces(&["12", "3", "456"]), 5, later()).await, Err(ReadError::TooLarge));
        assert_eq!(read(pieces(&["123456"]), 5, later()).await, Err(ReadError::TooLarge));
    }

    #[tokio::test]
    async fn does_not_wait_for_ever() {
        let trickle = stream::iter([Ok::<_, Infallible>("1")]).chain(stream::pending());
        let soon = Instant::now() + Duration::from_millis(10);
        assert_eq!(read(Body::from_stream(trickle), 5, soon).await, Err(ReadError::TooSlow));
    }

    #[tokio::test]
    async fn notices_a_client_that_went_away() {
        let broken = stream::iter([Ok("1"), Err("gone")]);
        assert_eq!(read(Body::from_stream(broken), 5, later()).await, Err(ReadError::Broken));
    }
}
