//! turmoil, one UDP socket a host: one datagram, one delivery.

use std::rc::Rc;
use std::time::Duration;

use tidegate_benches::report::Measurement;
use tidegate_benches::workload::{ACTORS, BODY_BYTES, Body};
use turmoil::net::UdpSocket;

use crate::turmoil_sim::{self, Host, PORT};

/// By then every host has bound its socket, whatever the tick.
const STARTED_AFTER: Duration = Duration::from_millis(100);

pub(crate) fn measure(in_flight: u32, tick: Duration) -> Measurement {
    let starts = in_flight / ACTORS;
    turmoil_sim::measure("UDP", in_flight, tick, move |host| serve(host, starts))
}

async fn serve(host: Rc<Host>, starts: u32) -> turmoil::Result {
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).await?;
    let addresses = Host::addresses();
    tokio::time::sleep(STARTED_AFTER).await;
    for _ in 0..starts {
        let send = host.start();
        let to = addresses[send.to as usize];
        socket.send_to(&send.body.to_bytes(), to).await?;
    }
    let mut bytes = [0; BODY_BYTES];
    loop {
        let (_, from) = socket.recv_from(&mut bytes).await?;
        let send = host.deliver(from.ip(), Body::from_bytes(&bytes));
        let to = addresses[send.to as usize];
        socket.send_to(&send.body.to_bytes(), to).await?;
    }
}
