//! How reports leave the driver.
//!
//! The channel is bounded: while its reader lags, whoever has a report waits, and nothing is
//! lost. Once the driver is being shut down nobody may be left to read, so reports that find
//! no room are dropped then; the next life's inventory tells the same.

use tidegate_kernel::DriverReport;
use tokio::sync::{mpsc, watch};

#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    reports: mpsc::Sender<DriverReport>,
    closing: watch::Receiver<bool>,
}

impl Reporter {
    pub(crate) fn new(
        reports: mpsc::Sender<DriverReport>,
        closing: watch::Receiver<bool>,
    ) -> Reporter {
        Reporter { reports, closing }
    }

    pub(crate) async fn send(&self, report: DriverReport) {
        let mut closing = self.closing.clone();
        let room = tokio::select! {
            biased;
            room = self.reports.reserve() => room.ok(),
            _ = closing.wait_for(|closing| *closing) => None,
        };
        if let Some(room) = room {
            room.send(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_room_but_not_while_closing() {
        let (sender, mut receiver) = mpsc::channel(1);
        let (close, closing) = watch::channel(false);
        let reporter = Reporter::new(sender, closing);
        let report = || DriverReport::Inventory(Vec::new());
        reporter.send(report()).await;
        let second = tokio::spawn({
            let reporter = reporter.clone();
            async move { reporter.send(report()).await }
        });
        assert_eq!(receiver.recv().await, Some(report()));
        second.await.expect("no panic");
        close.send_replace(true);
        reporter.send(report()).await;
        assert_eq!(receiver.recv().await, Some(report()));
        assert!(receiver.is_empty());
    }
}
