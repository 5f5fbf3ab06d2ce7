//! What follows when the confinement of a VM's process does not hold: the process is ended, when it is adopted as when it was started and with
//! the same words, and its restart policy starts it anew. That is done only on what the kernel tells of a process that lives; one that can't
//! be looked at goes on. What must hold is each driver's to say.

use super::super::{
    VmmError,
    confinement::{Confinement, Wanted},
};
use super::runs::Runs;
use domain::{
    VmId,
    vm::{Exit, Inspection, Machine},
};

/// At a start: a process for which `problems` are found is ended, and they are why.
pub async fn check_start(
    runs: &Runs,
    vm: VmId,
    machine: &Machine,
    problems: impl FnOnce(&Confinement) -> Vec<String>,
) -> Result<(), VmmError> {
    let problems = problems(&runs.confinement(vm, machine).await?);
    if problems.is_empty() { Ok(()) } else { Err(end(runs, vm, machine, &problems).await?) }
}

/// A guest that was found as that, its VMM having answered: told so, unless `problems` are found.
pub async fn check_found(
    runs: &Runs,
    vm: VmId,
    machine: &Machine,
    found: Inspection,
    problems: impl FnOnce(&Confinement) -> Vec<String>,
) -> Result<Inspection, VmmError> {
    let look = match runs.confinement(vm, machine).await {
        Ok(look) => look,
        Err(error @ VmmError::Refused { .. }) => {
            tracing::warn!(%vm, %error, "whether the confinement of a VM's process holds can't be looked at");
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let problems = problems(&look);
    if problems.is_empty() {
        return Ok(found);
    }
    let reason = end(runs, vm, machine, &problems).await?;
    tracing::warn!(%vm, %reason, "an adopted VM was ended");
    Ok(Inspection::Gone { exit: ended_for(&reason) })
}

/// One sentence for each thing that is not as it was when the process was started. `noted`: the VM's uid, by its file. A file that is lost
/// says nothing about the process: whose threads are all one user's that is not root goes on.
pub fn problems(noted: Option<u32>, look: &Confinement, wanted: impl FnOnce(u32) -> Wanted) -> Vec<String> {
    match noted.or_else(|| look.uid().filter(|&uid| uid != 0)) {
        Some(uid) => look.problems(&wanted(uid)),
        None => vec!["its threads run as root or as several users, and which user was the VM's is not known any more".into()],
    }
}

/// Ends the process, and gives why.
async fn end(runs: &Runs, vm: VmId, machine: &Machine, problems: &[String]) -> Result<VmmError, VmmError> {
    let reason = VmmError::Refused { call: "confinement", detail: problems.join("; ") };
    // Whoever asks later how it ended is to hear the same.
    runs.live(vm, machine)?.end_as(ended_for(&reason)).await?;
    Ok(reason)
}

/// No code of a VMM's.
fn ended_for(reason: &VmmError) -> Exit {
    Exit::Failed { code: -1, detail: reason.to_string() }
}
