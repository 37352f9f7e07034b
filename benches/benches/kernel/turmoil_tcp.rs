//! turmoil, one TCP connection for each ordered pair of hosts: a message is 64
//! bytes of its stream.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tidegate_benches::report::Measurement;
use tidegate_benches::workload::{ACTORS, BODY_BYTES, Body, Send};
use tokio::io::AsyncReadExt;
use turmoil::net::{TcpListener, TcpStream};

use crate::turmoil_sim::{self, Host, PORT};

/// By then every host listens, whatever the tick.
const CONNECTED_AFTER: Duration = Duration::from_millis(100);
/// By then every host has connected to each other one.
const STARTED_AFTER: Duration = Duration::from_secs(5);

pub(crate) fn measure(in_flight: u32, tick: Duration) -> Measurement {
    let starts = in_flight / ACTORS;
    turmoil_sim::measure("TCP", in_flight, tick, move |host| serve(host, starts))
}

async fn serve(host: Rc<Host>, starts: u32) -> turmoil::Result {
    let started = tokio::time::Instant::now() + STARTED_AFTER;
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let accepted = tokio::task::spawn_local(accept(listener));
    tokio::time::sleep(CONNECTED_AFTER).await;
    let peers = Rc::new(Peers::connect(host.id).await?);
    for stream in accepted.await?? {
        tokio::task::spawn_local(read(stream, host.clone(), peers.clone()));
    }
    tokio::time::sleep_until(started).await;
    for _ in 0..starts {
        peers.send(host.start()).await?;
    }
    std::future::pending().await
}

async fn accept(listener: TcpListener) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 1..ACTORS {
        streams.push(listener.accept().await?.0);
    }
    Ok(streams)
}

async fn read(mut stream: TcpStream, host: Rc<Host>, peers: Rc<Peers>) -> io::Result<()> {
    let from = stream.peer_addr()?.ip();
    let mut bytes = [0; BODY_BYTES];
    loop {
        stream.read_exact(&mut bytes).await?;
        let send = host.deliver(from, Body::from_bytes(&bytes));
        peers.send(send).await?;
    }
}

/// The outgoing connections, by actor; none to the host itself.
struct Peers(Vec<Option<TcpStream>>);

impl Peers {
    async fn connect(own: u32) -> io::Result<Self> {
        let mut streams = Vec::new();
        for (id, address) in (0..ACTORS).zip(Host::addresses()) {
            streams.push(if id == own {
                None
            } else {
                Some(TcpStream::connect(address).await?)
            });
        }
        Ok(Self(streams))
    }

    async fn send(&self, send: Send) -> io::Result<()> {
        let stream = self.0[send.to as usize].as_ref();
        let stream = stream.ok_or(io::ErrorKind::NotConnected)?;
        loop {
            match stream.try_write(&send.body.to_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.writable().await?;
                }
                written => {
                    assert_eq!(written?, BODY_BYTES, "a message is one segment");
                    return Ok(());
                }
            }
        }
    }
}
