//! Clients that ask without a pause, and count what they were not given.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::eventually;

/// As long as the platform itself gives a request.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// The answer to `GET /`, if it is 200.
pub(crate) fn get(gateway: &str, host: &str) -> Result<String, String> {
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(gateway)?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|e| format!("{host} at {gateway}: {e}"))?;
    if answer.starts_with("HTTP/1.1 200") {
        Ok(answer)
    } else {
        Err(format!("{host} at {gateway}: {answer:?}"))
    }
}

/// One client for each gateway.
pub(crate) struct Traffic {
    clients: BTreeMap<String, Arc<ClientState>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct ClientState {
    ended: AtomicBool,
    /// Its gateway is not supposed to answer.
    excused: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Traffic {
    pub(crate) fn start(gateways: &[String], hosts: &'static [&'static str]) -> Self {
        let mut traffic = Traffic {
            clients: BTreeMap::new(),
            threads: Vec::new(),
        };
        for gateway in gateways {
            let state = Arc::new(ClientState::default());
            traffic.clients.insert(gateway.clone(), Arc::clone(&state));
            let gateway = gateway.clone();
            let thread = std::thread::spawn(move || state.ask(&gateway, hosts));
            traffic.threads.push(thread);
        }
        traffic
    }

    /// The gateway's requests may fail from now on.
    pub(crate) fn excuse(&self, gateway: &str) {
        self.clients[gateway].excused.store(true, SeqCst);
    }

    /// Waits until the gateway answers; from then on it must.
    pub(crate) fn expect(&self, gateway: &str) {
        let client = &self.clients[gateway];
        client.wait_for_answers(gateway);
        client.excused.store(false, SeqCst);
        self.all_answer_again();
    }

    /// Waits for later answers of each gateway that must answer; none may have failed.
    pub(crate) fn all_answer_again(&self) {
        for (gateway, client) in &self.clients {
            if !client.excused.load(SeqCst) {
                client.wait_for_answers(gateway);
            }
        }
        self.check();
    }

    pub(crate) fn end(mut self) {
        self.stop();
        for thread in std::mem::take(&mut self.threads) {
            assert!(thread.join().is_ok(), "a client panicked");
        }
        self.check();
        for (gateway, client) in &self.clients {
            println!(
                "{gateway} answered {} requests",
                client.answered.load(SeqCst)
            );
        }
    }

    fn check(&self) {
        for client in self.clients.values() {
            let failures = client.failures.lock();
            let failures = failures.unwrap_or_else(PoisonError::into_inner);
            assert!(failures.is_empty(), "requests failed: {failures:#?}");
        }
    }

    fn stop(&self) {
        for client in self.clients.values() {
            client.ended.store(true, SeqCst);
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ClientState {
    fn ask(&self, gateway: &str, hosts: &[&str]) {
        let begun = Instant::now();
        for host in hosts.iter().cycle() {
            if self.ended.load(SeqCst) {
                return;
            }
            let excused = self.excused.load(SeqCst);
            match get(gateway, host) {
                Ok(_) => {
                    self.answered.fetch_add(1, SeqCst);
                }
                Err(_) if excused || self.excused.load(SeqCst) => {}
                Err(failure) => {
                    let at = begun.elapsed().as_secs_f32();
                    let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.push(format!("after {at} s: {failure}"));
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// More answers than can have been under way, to each of its questions.
    fn wait_for_answers(&self, gateway: &str) {
        let before = self.answered.load(SeqCst);
        eventually(&format!("answers at {gateway}"), || {
            let now = self.answered.load(SeqCst);
            if now > before + 4 {
                Ok(())
            } else {
                Err(format!("{now} answers"))
            }
        });
    }
}
