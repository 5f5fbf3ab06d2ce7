//! An actor as others know it: what is sent to it is counted, because ractor does not tell how long a mailbox is.

use super::Progress;
use ractor::{ActorCell, ActorId, ActorRef, Message, MessagingErr, RpcReplyPort, rpc::CallResult};
use std::{sync::Arc, time::Duration};

pub struct Address<M> {
    actor: ActorRef<M>,
    progress: Arc<Progress>,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Address { actor: self.actor.clone(), progress: Arc::clone(&self.progress) }
    }
}

impl<M: Message> Address<M> {
    pub fn new(actor: ActorRef<M>, progress: Arc<Progress>) -> Address<M> {
        Address { actor, progress }
    }

    pub fn cast(&self, message: M) -> Result<(), MessagingErr<M>> {
        self.progress.sent();
        self.actor.cast(message).inspect_err(|_| self.progress.taken_back())
    }

    /// Waits for the answer until the deadline.
    pub async fn call<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> M,
        within: Duration,
    ) -> Result<CallResult<T>, MessagingErr<M>> {
        self.progress.sent();
        self.actor.call(message, Some(within)).await.inspect_err(|_| self.progress.taken_back())
    }

    pub fn send_after(&self, wait: Duration, message: impl FnOnce() -> M + Send + 'static) {
        let progress = Arc::clone(&self.progress);
        self.actor.send_after(wait, move || {
            progress.sent();
            message()
        });
    }

    /// Again and again, as long as the actor lives.
    pub fn send_interval(&self, every: Duration, message: impl Fn() -> M + Send + 'static) {
        let progress = Arc::clone(&self.progress);
        self.actor.send_interval(every, move || {
            progress.sent();
            message()
        });
    }

    pub fn stop(&self) {
        self.actor.stop(None);
    }

    /// Ends it once it has answered to all that was sent until now. One that is ending already does so.
    pub fn drain(&self) {
        let _ending = self.actor.drain();
    }

    pub fn actor(&self) -> &ActorRef<M> {
        &self.actor
    }

    pub fn id(&self) -> ActorId {
        self.actor.get_id()
    }

    pub fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}
