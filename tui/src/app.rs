//! The loop: wait, take everything that came, update, draw once if something changed.

use std::{
    io,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use bursar_shared::client::session::local_now;
use nix::{
    sys::signal::{Signal as ProcessSignal, raise},
    unistd::{getpgid, getpgrp, getppid, getsid},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use crate::{
    Left, Start,
    draw::{Drawn, draw},
    message::{Exit, Input, Msg, Request, Slot, Task},
    model::{Model, Place},
    tasks::Tasks,
    terminal::{Screen, listen},
    update::update,
    widgets::review::Review,
};

/// Frames are at least this far apart; the first after a pause is drawn at once.
const BETWEEN: Duration = Duration::from_millis(8);

/// How long a stop that was asked for may take to come about.
const STOPS: Duration = Duration::from_secs(2);

/// How long the terminal may take to answer what it was asked, when somebody leaves before it did.
const ANSWERS: Duration = Duration::from_millis(400);

/// How long the signal may take that says why the terminal failed.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Where messages come from.
struct Sources {
    /// Keys, and the daemon's answers.
    messages: UnboundedReceiver<Msg>,
    /// SIGTERM, SIGHUP and SIGINT.
    signals: [Signal; 3],
    /// SIGTSTP and SIGCONT.
    job: [Signal; 2],
    /// SIGWINCH.
    size: Signal,
    /// When the dashboard was opened.
    opened: Instant,
}

impl Sources {
    /// Waits for the next message.
    async fn next(&mut self) -> Msg {
        let [term, hup, int] = &mut self.signals;
        let [stop, go_on] = &mut self.job;
        tokio::select! {
            Some(msg) = self.messages.recv() => msg,
            _ = term.recv() => Msg::Stop(Exit::Signal(TERM)),
            _ = hup.recv() => Msg::Stop(Exit::Signal(HUP)),
            _ = int.recv() => Msg::Stop(Exit::Signal(INT)),
            _ = stop.recv() => Msg::Pause,
            _ = go_on.recv() => Msg::Resumed,
            _ = self.size.recv() => {
                let (width, height) = Screen::size().unwrap_or((80, 24));
                Msg::Input(Input::Resize(width, height))
            }
        }
    }
}

const HUP: i32 = 1;
const INT: i32 = 2;
const TERM: i32 = 15;

/// Opens the dashboard and stays until the person leaves.
pub(crate) async fn run(start: Start) -> io::Result<Left> {
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    let (to, messages) = unbounded_channel();
    let mut sources = Sources {
        messages,
        signals: [
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
        ],
        job: [
            signal(SignalKind::from_raw(ProcessSignal::SIGTSTP as i32))?,
            signal(SignalKind::from_raw(ProcessSignal::SIGCONT as i32))?,
        ],
        size: signal(SignalKind::window_change())?,
        opened: Instant::now(),
    };
    let place = Place { server: start.server, ..start.place };
    let mut model = Model::new(start.look, place, local_now());
    model.keys = start.keys;
    if let Some(email) = &start.email {
        model.login.set_email(email);
    }
    let mut tasks = Tasks::new(start.client, start.connect, start.host, to.clone());
    let mut screen = Screen::take(start.look.mouse)?;
    listen(to, start.look.asks)?;
    model.size = Screen::size()?;
    if start.signed_in {
        model.login.notice = Some("taking up the stored session…".to_owned());
        tasks.ask(model.tickets.issue(Slot::Session), Request::Who);
    }
    let ended = stay(&mut sources, &mut model, &mut tasks, &mut screen).await;
    let mut unsettled = std::mem::take(&mut model.left_behind);
    unsettled.extend(Review::open_titles(&model));
    match ended {
        Ok(exit) => Ok(Left { exit, unsettled }),
        // a terminal that is gone fails to take a frame before the signal that says so is seen
        Err(wrong) => {
            let [_, hup, _] = &mut sources.signals;
            match tokio::time::timeout(LAST_WORD, hup.recv()).await {
                Ok(_) => Ok(Left { exit: Exit::Signal(HUP), unsettled }),
                Err(_) => Err(wrong),
            }
        }
    }
}

async fn stay(
    sources: &mut Sources,
    model: &mut Model,
    tasks: &mut Tasks,
    screen: &mut Screen,
) -> io::Result<Exit> {
    let mut drawn = show(screen, model)?;
    if model.look.asks {
        screen.ask_background()?;
    }
    let mut drawn_at = Instant::now();
    loop {
        let msg = sources.next().await;
        model.tick = sources.opened.elapsed();
        let mut stops = step(model, msg, &drawn, tasks, screen)?;
        stops |= drain(sources, model, &drawn, tasks, screen).await?;
        if let Some(wait) = BETWEEN.checked_sub(drawn_at.elapsed()).filter(|_| model.dirty && !stops) {
            tokio::time::sleep(wait).await;
            stops |= drain(sources, model, &drawn, tasks, screen).await?;
        }
        if stops && model.exit.is_none() {
            stop(sources, model, screen).await?;
        }
        if let Some(exit) = model.exit {
            tasks.finish().await;
            if let Some(wait) = screen.asked.and_then(|at| ANSWERS.checked_sub(at.elapsed())) {
                answered(sources, wait).await;
            }
            return Ok(exit);
        }
        if std::mem::take(&mut model.dirty) {
            drawn = show(screen, model)?;
            drawn_at = Instant::now();
        }
    }
}

/// The terminal was asked something: its answer, should it still come, is not to be typed into the shell.
async fn answered(sources: &mut Sources, wait: Duration) {
    let answer = async { while !matches!(sources.next().await, Msg::Background(_) | Msg::Stop(_)) {} };
    let _ = tokio::time::timeout(wait, answer).await;
}

/// What a future has ready now. It is polled in the name of this task: a source keeps the waker it was
/// polled with, and one that wakes nobody would lose the next key.
async fn ready<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Takes everything that is there already.
async fn drain(
    sources: &mut Sources,
    model: &mut Model,
    drawn: &Drawn,
    tasks: &mut Tasks,
    screen: &mut Screen,
) -> io::Result<bool> {
    let mut stops = false;
    while model.exit.is_none()
        && let Some(msg) = ready(sources.next()).await
    {
        model.tick = sources.opened.elapsed();
        stops |= step(model, msg, drawn, tasks, screen)?;
    }
    Ok(stops)
}

/// Gives the terminal back and stops, as a shell expects it; comes back when the shell says so.
async fn stop(sources: &mut Sources, model: &mut Model, screen: &mut Screen) -> io::Result<()> {
    if !has_shell() {
        model.complain("there is no shell to go back to");
        return Ok(());
    }
    screen.leave();
    let [_, go_on] = &mut sources.job;
    if raise(ProcessSignal::SIGSTOP).is_ok() {
        // another thread may be the one that stops first; what follows the stop is the signal to go on
        let _ = tokio::time::timeout(STOPS, go_on.recv()).await;
    }
    screen.retake(model.look.mouse)?;
    model.size = Screen::size()?;
    model.dirty = true;
    model.repaint = true;
    Ok(())
}

/// Whether somebody would start us again: a stopped process without a shell above it stays so for ever.
fn has_shell() -> bool {
    // in a container the shell's ids may be unknown, which is 0 and no error
    let parent = Some(getppid());
    getsid(parent).ok() == getsid(None).ok() && getpgid(parent).ok() != Some(getpgrp())
}

/// Takes a message; whether the process is to stop for a while.
fn step(
    model: &mut Model,
    msg: Msg,
    drawn: &Drawn,
    tasks: &mut Tasks,
    screen: &mut Screen,
) -> io::Result<bool> {
    let mut stops = false;
    if matches!(msg, Msg::Broken) {
        return Err(io::Error::other("a part of the dashboard broke"));
    }
    if matches!(msg, Msg::Resumed) {
        // whatever stopped us may have left the terminal to somebody else
        screen.retake(model.look.mouse)?;
        model.size = Screen::size()?;
    }
    if matches!(msg, Msg::Background(_)) {
        screen.asked = None;
    }
    model.now = local_now();
    // not every message changes something, and what an earlier one changed is still to be drawn
    let dirty = std::mem::take(&mut model.dirty);
    let todo = update(model, msg, &drawn.hits);
    model.dirty |= dirty;
    for task in todo {
        match task {
            Task::Ask(ticket, request) => tasks.ask(ticket, request),
            Task::Drop(slot) => tasks.drop(slot),
            Task::Wake(after, alarm) => tasks.wake(after, alarm),
            Task::Copy(text) => screen.copy(&text)?,
            Task::Mouse(on) => screen.mouse(on)?,
            Task::Stop => stops = true,
            Task::Forget(key) => tasks.forget(&key),
            Task::Quit(exit) => model.exit = Some(exit),
        }
    }
    Ok(stops)
}

fn show(screen: &mut Screen, model: &mut Model) -> io::Result<Drawn> {
    fail::fail_point!("tui-draw");
    model.dirty = false;
    let whole = std::mem::take(&mut model.repaint);
    screen.draw(whole, |buffer| {
        let drawn = draw(model, buffer);
        let caret = drawn.caret;
        (drawn, caret)
    })
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::poll_fn, task::Waker};

    use super::*;

    #[tokio::test]
    async fn looking_whether_something_is_there_leaves_a_waker_that_wakes() {
        let kept: RefCell<Option<Waker>> = RefCell::default();
        let silent = poll_fn(|cx| {
            kept.borrow_mut().get_or_insert_with(|| cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(ready(silent).await.is_none());
        let ours = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        assert!(kept.borrow().as_ref().is_some_and(|waker| waker.will_wake(&ours)));
    }
}
