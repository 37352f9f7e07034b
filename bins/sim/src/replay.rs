//! `tidegate-sim replay`: files and folders of recordings, one after the other.

mod files;
mod text;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tidegate_recording::{End, Header, Malformed, Recording};
use tidegate_sim::replay::Replay as Actor;

use files::Found;

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Recordings, or folders of them: what `--record` was given
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Stop after this input of the actor's life
    #[arg(long, value_name = "N")]
    until: Option<u64>,
    /// Print input N, what it led to, and the actor's state before and after; of one file
    #[arg(long, value_name = "N")]
    show: Option<u64>,
    /// Print one JSON object a file
    #[arg(long)]
    json: bool,
}

/// What came of a file.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    steps: u64,
    /// Where it is not as recorded, in words.
    difference: Option<Difference>,
    /// The input that made the actor panic, as it did then, and its last words.
    panicked: Option<(u64, String)>,
    /// The state at the end, when all of it was replayed.
    state: Option<Vec<u8>>,
}

/// The first difference between then and now.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Number of the input in the actor's life; `None`: between two segments.
    input: Option<u64>,
    offset: usize,
    text: String,
}

/// A segment that was replayed to its end, for the one that goes on.
struct Former {
    header: Header,
    state: Vec<u8>,
}

/// Replays everything; `Ok(false)`: something was not as recorded.
pub(crate) fn run(replay: &Replay) -> Result<bool, String> {
    let found = files::find(&replay.paths)?;
    if replay.show.is_some() && found.len() != 1 {
        return Err(format!(
            "--show prints one input of one file, and these are {} files; name one of them",
            found.len()
        ));
    }
    // A panic is an outcome here, and its words are printed with it.
    std::panic::set_hook(Box::new(|_| {}));
    let bar = bar(found.iter().map(|f| f.bytes).sum());
    let mut refused = Vec::new();
    let mut formers = BTreeMap::new();
    let mut all_as_recorded = true;
    let mut files = 0;
    for found in &found {
        match one(replay, found, &mut formers) {
            Ok((outcome, text)) => {
                all_as_recorded &= outcome.difference.is_none();
                files += 1;
                bar.suspend(|| crate::print(&text));
            }
            Err(reason) => refused.push(reason),
        }
        bar.inc(found.bytes);
    }
    bar.finish_and_clear();
    let _ = std::panic::take_hook();
    for reason in &refused {
        eprintln!("tidegate-sim: {reason}");
    }
    if !refused.is_empty() && all_as_recorded {
        return Err(format!(
            "{} of {} files cannot be replayed",
            refused.len(),
            refused.len() + files
        ));
    }
    Ok(all_as_recorded)
}

fn bar(bytes: u64) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// Replays a file; gives what came of it, and what is to be printed.
fn one(
    replay: &Replay,
    found: &Found,
    formers: &mut BTreeMap<PathBuf, Former>,
) -> Result<(Outcome, String), String> {
    let path = found.path.display();
    let bytes = files::read(found)?;
    let recording = match Recording::read(&bytes) {
        Ok(recording) => recording,
        // What a crash leaves of a segment that had only begun.
        Err(malformed) if malformed.is_cut_off && found.in_folder => {
            let text = match replay.json {
                true => format!(
                    "{}\n",
                    json!({"file": path.to_string(), "steps": 0, "differences": 0, "panicked": false, "cut_off": malformed.offset})
                ),
                false => format!(
                    "{path}: cut off at byte {}, before there was anything to replay\n",
                    malformed.offset
                ),
            };
            return Ok((Outcome::default(), text));
        }
        Err(malformed) => return Err(format!("{path}: {malformed}")),
    };
    let refused = |malformed: Malformed| format!("{path}: {malformed}");
    let mut shown = String::new();
    let mut outcome = steps(replay, &recording, &mut shown).map_err(refused)?;
    let folder = found.path.parent().map(PathBuf::from).unwrap_or_default();
    let former = formers.remove(&folder);
    if outcome.difference.is_none() {
        outcome.difference = former.and_then(|former| seam(&former, &recording));
    }
    if let (Some(End::Continued), Some(state)) = (recording.end(), outcome.state.take()) {
        let header = recording.header().clone();
        formers.insert(folder, Former { header, state });
    }
    let text = match replay.json {
        true => format!("{}\n", object(found, &recording, &outcome)),
        false => shown + &text::line(found, &recording, &outcome),
    };
    Ok((outcome, text))
}

fn steps(
    replay: &Replay,
    recording: &Recording<'_>,
    shown: &mut String,
) -> Result<Outcome, Malformed> {
    let mut actor = Actor::new(recording)?;
    let mut outcome = Outcome::default();
    while let Some(step) = actor.next_step() {
        if replay.until.is_some_and(|until| step.number > until) {
            return Ok(outcome);
        }
        let show = replay.show == Some(step.number);
        if show {
            *shown += &text::before(step, actor.cell());
        }
        let replayed = match catch_unwind(AssertUnwindSafe(|| actor.step())) {
            Ok(replayed) => replayed?,
            Err(panic) => {
                let words = words(panic.as_ref());
                if show {
                    *shown += &format!("panicked   {words}\n");
                }
                outcome.steps += 1;
                // It ends here, and the actor is in no state to go on.
                if recording.end() == Some(End::Panicked) && step.done.is_none() {
                    outcome.panicked = Some((step.number, words));
                } else {
                    outcome.difference = Some(text::panics_now(step, &words));
                }
                return Ok(outcome);
            }
        };
        let Some(replayed) = replayed else {
            break;
        };
        outcome.steps += 1;
        if show {
            *shown += &text::after(&replayed, actor.cell());
        }
        let panicked_then = recording.end() == Some(End::Panicked) && step.done.is_none();
        if panicked_then || !replayed.is_as_recorded() {
            outcome.difference = Some(text::difference(&replayed, panicked_then));
            return Ok(outcome);
        }
    }
    outcome.state = actor.cell().snapshot();
    Ok(outcome)
}

/// Compares the state at the end of a segment with the snapshot of the one that goes on.
fn seam(former: &Former, recording: &Recording<'_>) -> Option<Difference> {
    let (before, after) = (&former.header, recording.header());
    let goes_on = (before.life, before.segment + 1) == (after.life, after.segment)
        && before.actor == after.actor
        && before.inputs_lost == after.inputs_lost;
    (goes_on && former.state != recording.snapshot()).then(|| Difference {
        input: None,
        offset: recording.snapshot_at(),
        text: "the snapshot is not the state that the segment before leads to".into(),
    })
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without words").to_owned()
}

fn object(found: &Found, recording: &Recording<'_>, outcome: &Outcome) -> Value {
    let header = recording.header();
    let first = outcome.difference.as_ref();
    json!({
        "file": found.path.display().to_string(),
        "actor": header.actor.to_string(),
        "build": header.build,
        "life": header.life,
        "segment": header.segment,
        "inputs_before": header.inputs_before,
        "inputs_lost": header.inputs_lost,
        "steps": outcome.steps,
        "differences": u64::from(first.is_some()),
        "first_difference": first.map(|d| json!({
            "input": d.input,
            "offset": d.offset,
            "text": d.text,
        })),
        "panicked": outcome.panicked.is_some(),
        "panic": outcome.panicked.as_ref().map(|(input, words)| json!({
            "input": input,
            "words": words,
        })),
        "cut_off": recording.end().is_none().then_some(recording.length()),
    })
}
