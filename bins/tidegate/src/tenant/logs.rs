//! `tidegate logs`.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use tidegate_api::client::CallError;
use tidegate_api::model::Line;

use crate::cli::LogsOptions;
use crate::context;

const POLL: Duration = Duration::from_millis(500);

pub(crate) fn run(options: &LogsOptions) -> anyhow::Result<()> {
    let client = context::client(&options.api)?;
    let mut cursor = String::new();
    loop {
        match client.logs(&options.project, options.version, &cursor) {
            Ok(logs) => {
                cursor = logs.cursor;
                if print(&logs.lines, options.api.json)?.is_none() {
                    return Ok(());
                }
            }
            // What follows must survive a restart of control.
            Err(CallError::Unreachable { .. } | CallError::Refused { status: 503, .. })
                if options.follow && !cursor.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
        if !options.follow {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

/// `None`: whoever read the lines has gone.
fn print(lines: &[Line], json: bool) -> anyhow::Result<Option<()>> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        let written = if json {
            writeln!(out, "{}", serde_json::to_string(line)?)
        } else {
            let time = UNIX_EPOCH + Duration::from_millis(line.unix_ms);
            let time = humantime::format_rfc3339_millis(time);
            writeln!(out, "{time} {}.{} {}", line.number, line.slot, line.text)
        };
        if written.is_err() {
            return Ok(None);
        }
    }
    Ok(out.flush().ok())
}
