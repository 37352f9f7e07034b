//! Prints how many transactions each engine commits in a second, for batches of 1 and 100.
//!
//! `cargo run --release -p tidegate-storage --example commit_rate [DIRECTORY]`

use std::time::{Duration, Instant};

use tidegate_protocol::{Bytes, Precondition, Txn, Write};
use tidegate_storage::{Engine, FjallEngine, FjallOptions, MemoryEngine};

const KEYS: u64 = 10_000;
const VALUE_BYTES: usize = 100;
const TIME: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = match std::env::args_os().nth(1) {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    for batch in [1, 100] {
        let mut memory = MemoryEngine::new();
        report("memory", batch, &mut memory)?;
        let place = dir.path().join(batch.to_string());
        let mut fjall = FjallEngine::open(&place, &FjallOptions::default())?;
        report("fjall", batch, &mut fjall)?;
        drop(fjall);
        let begin = Instant::now();
        let fjall = FjallEngine::open(&place, &FjallOptions::default())?;
        println!(
            "fjall   opens in {:?} at revision {}",
            begin.elapsed(),
            fjall.revision()
        );
    }
    Ok(())
}

fn report(
    name: &str,
    batch: u64,
    engine: &mut dyn Engine,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut spent = Duration::ZERO;
    let mut slowest = Duration::ZERO;
    let mut committed = 0;
    while spent < TIME {
        let txns: Vec<Txn> = (committed..committed + batch)
            .map(|n| overwrite(engine, n))
            .collect::<Result<_, _>>()?;
        let begin = Instant::now();
        engine.commit(&txns)?;
        let took = begin.elapsed();
        spent += took;
        slowest = slowest.max(took);
        committed += batch;
    }
    let rate = committed as f64 / spent.as_secs_f64();
    println!("{name:7} batch {batch:3}: {rate:9.0} transactions/s, slowest batch {slowest:?}");
    Ok(())
}

/// One write with a precondition on the key, as an actor does it.
fn overwrite(engine: &dyn Engine, n: u64) -> Result<Txn, Box<dyn std::error::Error>> {
    let key = format!("slot/{:016x}/00000000", n * 7919 % KEYS);
    let revision = engine.read(&key)?.map_or(0, |(_, revision)| revision);
    Ok(Txn {
        preconditions: vec![Precondition {
            key: key.clone(),
            revision,
        }],
        writes: vec![Write {
            key,
            value: Some(Bytes::from(vec![n as u8; VALUE_BYTES])),
        }],
    })
}
