//! Deadlines of generations: of the whole, of a wait, of a clean-up. What is due is the engine's to say; here it is looked
//! at when the time has come, and once after a start for all that has one.

use engine::Action;
use protocol::{GenerationId, Timestamp};

use super::{
    Core,
    desk::{Task, Then},
    timers::Timer,
};

impl Core {
    /// Deadlines of an earlier run of this node.
    pub fn adopt_deadlines(&mut self, deadlines: Vec<(GenerationId, Timestamp)>) {
        for (generation, at) in deadlines {
            self.timers.arm(Timer::Expiry(generation), at);
        }
    }

    /// The time has come, or seemed to: a deadline that moved is looked at again then.
    pub(super) fn check_expiry(&mut self, generation: &GenerationId) {
        let Some(state) = self.state(generation) else {
            // Read first; whoever concludes the look comes back here.
            self.put(generation, Task::Read { repeated: false }, Then::May);
            return;
        };
        match state.expires_at() {
            Some(at) if at <= self.now => {
                if let Some(clock) = self.leases.get_mut(generation) {
                    // Its worker has to hear that it is over.
                    clock.ending = true;
                }
                let command = engine::Command { id: self.command_id(), action: Action::Expire };
                self.put(generation, Task::Decide { command, birth: None }, Then::Must);
            }
            Some(at) => self.timers.arm(Timer::Expiry(generation.clone()), at),
            None => {}
        }
    }

    pub(super) fn arm_expiry(&mut self, generation: &GenerationId, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.timers.arm(Timer::Expiry(generation.clone()), at.max(self.now.plus(1)));
        }
    }
}
