//! Mistakes on purpose: each is one that someone could make, and one that the simulation must find (`tests/sim`).
//!
//! Without the feature `mutants` none is ever on, and the compiler removes them. With it, a thread chooses one for itself; one build
//! serves all.

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// "Yes" is said, and shown, before the journal has it.
    AnswersBeforeTheDisk,
    /// Effects run before the decision is durable.
    PerformsBeforeTheCommit,
    /// Answers and timers of older attempts are applied.
    TakesOldAnswers,
    /// At a start the addresses in the records are not entered as given.
    ForgetsAddresses,
    /// At a start what running VMs hold is not entered.
    ForgetsCapacity,
    /// A deleted VM's disk stays.
    LeavesTheDisk,
    /// A stopped VM's network interface stays.
    LeavesTheInterface,
    /// A resource lets go of its operation without ending it.
    ForgetsTheOperation,
    /// A pause is not told to anybody.
    KeepsAnEventBack,
    /// Nobody waits for the end of a machine.
    MissesTheEnd,
    /// A running VM is taken for running after a restart, without a look.
    RecoversWithoutLooking,
    /// What a key was answered with is not written down.
    ForgetsTheKey,
    /// An operation ends as cancelled, and what it began goes on.
    CancelsWithoutUndoing,
    /// One event more is pruned than may be.
    PrunesWhatIsKept,
    /// Ended operations are forgotten before there are enough newer ones.
    ForgetsTooMany,
    /// An actor that failed is not started again.
    LeavesTheFallen,
    /// An actor that is loaded again does not wait for what the one before it handed to the journal.
    LoadsTooEarly,
    /// What was on its way to a receiver when hearth ended counts as delivered.
    TakesSentForDelivered,
    /// A delivery that failed for good is not set aside.
    ForgetsTheLetter,
    /// A machine that is held is let go on, though its user paused it.
    GoesOnThoughPaused,
    /// What changed of a machine as hearth ended is left as it was.
    LeavesItUntuned,
}

impl Mutant {
    pub const ALL: [Mutant; 21] = [
        Mutant::AnswersBeforeTheDisk,
        Mutant::PerformsBeforeTheCommit,
        Mutant::TakesOldAnswers,
        Mutant::ForgetsAddresses,
        Mutant::ForgetsCapacity,
        Mutant::LeavesTheDisk,
        Mutant::LeavesTheInterface,
        Mutant::ForgetsTheOperation,
        Mutant::KeepsAnEventBack,
        Mutant::MissesTheEnd,
        Mutant::RecoversWithoutLooking,
        Mutant::ForgetsTheKey,
        Mutant::CancelsWithoutUndoing,
        Mutant::PrunesWhatIsKept,
        Mutant::ForgetsTooMany,
        Mutant::LeavesTheFallen,
        Mutant::LoadsTooEarly,
        Mutant::TakesSentForDelivered,
        Mutant::ForgetsTheLetter,
        Mutant::GoesOnThoughPaused,
        Mutant::LeavesItUntuned,
    ];
}

#[cfg(feature = "mutants")]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this mistake is made on this thread.
#[cfg(feature = "mutants")]
pub fn on(mutant: Mutant) -> bool {
    CHOSEN.get() == Some(mutant)
}

#[cfg(not(feature = "mutants"))]
pub const fn on(_: Mutant) -> bool {
    false
}

/// From now on this thread makes this mistake, or none.
#[cfg(feature = "mutants")]
pub fn choose(mutant: Option<Mutant>) {
    CHOSEN.set(mutant);
}
