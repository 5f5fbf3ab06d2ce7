//! Calls between actors: always with a deadline, and with errors that say what happened to the question.

use crate::{error::CommandError, supervise::Address};
use ractor::{Message, RpcReplyPort, rpc::CallResult};
use std::time::Duration;

/// A command is a decision and one commit; a commit that takes longer than this means a disk that does not answer.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// Asks, and waits for the answer until the deadline. The question may have been carried out even when no answer came.
pub async fn ask<M: Message, T: Send + 'static>(
    actor: &Address<M>,
    message: impl FnOnce(RpcReplyPort<Result<T, CommandError>>) -> M,
) -> Result<T, CommandError> {
    ask_if_there(actor, message).await.unwrap_or(Err(CommandError::Restarting))
}

/// As [`ask`]. Absent: the actor takes no more questions, and this one was not asked.
pub async fn ask_if_there<M: Message, T: Send + 'static>(
    actor: &Address<M>,
    message: impl FnOnce(RpcReplyPort<Result<T, CommandError>>) -> M,
) -> Option<Result<T, CommandError>> {
    Some(match actor.call(message, COMMAND_DEADLINE).await.ok()? {
        CallResult::Success(answer) => answer,
        CallResult::Timeout => Err(CommandError::Timeout),
        // The actor died over this message, or is being restarted.
        CallResult::SenderError => Err(CommandError::Restarting),
    })
}
