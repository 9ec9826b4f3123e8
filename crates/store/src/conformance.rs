//! The suite every store passes. It uses nothing but the traits, and runs on whatever runtime the caller brings.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{OnCommit, Store, StoredEvent};

mod commits;
mod files;
mod letters;
mod lists;
mod log;
mod queue;
pub mod sample;

/// What a store told its [`OnCommit`], in order.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<StoredEvent>>>);

impl Heard {
    pub(crate) fn listener(&self) -> OnCommit {
        let heard = self.clone();
        Arc::new(move |events| heard.0.lock().extend_from_slice(events))
    }

    pub(crate) fn all(&self) -> Vec<StoredEvent> {
        self.0.lock().clone()
    }
}

/// Runs every case, each on a store of its own: `make` gives an empty one that tells the listener it is handed.
///
/// # Panics
/// When the store breaks a promise of [`Store`] or [`crate::History`].
pub async fn check(make: impl AsyncFn(OnCommit) -> Arc<dyn Store>) {
    let fresh = async || make(Heard::default().listener()).await;

    let heard = Heard::default();
    commits::sequences_are_dense_and_heard_in_order(&*make(heard.listener()).await, &heard).await;
    let heard = Heard::default();
    commits::a_repeat_is_answered_as_the_first_time(&*make(heard.listener()).await, &heard).await;
    commits::a_wrong_sequence_is_a_conflict_and_writes_nothing(&*fresh().await).await;
    commits::changes_of_one_call_stand_and_fall_alone(&*fresh().await).await;
    commits::a_claim_names_one_generation(&*fresh().await).await;
    commits::a_claim_holds_inside_one_call(&*fresh().await).await;
    commits::concurrent_writers_of_one_head_have_one_winner(&*fresh().await).await;
    commits::a_loaded_generation_is_its_columns_and_what_came_after(&*fresh().await).await;
    commits::pages_of_events_join_without_a_hole(&*fresh().await).await;

    lists::an_unknown_generation_is_nowhere(&*fresh().await).await;
    lists::lists_are_newest_first_and_pages_join(&*fresh().await).await;
    lists::filters_choose_what_is_listed_and_counted(&*fresh().await).await;

    log::the_log_of_all_joins_in_the_order_of_commits(&*fresh().await).await;
    log::a_place_in_the_log_is_never_given_twice(&*fresh().await).await;
    lists::the_unfinished_are_counted_by_tenant_and_owner(&*fresh().await).await;

    queue::a_lane_is_served_by_order_then_by_age(&*fresh().await).await;
    queue::tenants_take_turns_in_one_call_and_over_many(&*fresh().await).await;
    queue::a_tenant_that_idled_has_saved_up_nothing(&*fresh().await).await;
    queue::a_correction_moves_only_its_own_lane(&*fresh().await).await;
    queue::a_reservation_ends_by_time_by_hand_and_by_commit(&*fresh().await).await;
    queue::a_new_order_keeps_a_reservation(&*fresh().await).await;
    queue::delayed_work_is_in_no_lane_until_it_is_due(&*fresh().await).await;
    queue::leases_are_listed_while_they_last(&*fresh().await).await;

    queue::what_stands_before_a_closed_gate_is_in_no_lane(&*fresh().await).await;
    queue::a_rank_is_what_the_queue_shows(&*fresh().await).await;
    queue::deadlines_are_listed_until_the_end(&*fresh().await).await;

    letters::a_letter_is_kept_with_the_change_that_makes_it(&*fresh().await).await;
    letters::letters_are_filtered_grouped_paged_and_purged(&*fresh().await).await;
    letters::a_switch_is_kept_until_it_is_forgotten(&*fresh().await).await;

    files::a_new_generation_shares_files_with_an_old_one(&*fresh().await).await;
    files::the_same_name_replaces_an_artifact(&*fresh().await).await;
    files::only_a_finished_generation_is_deleted_and_with_all_that_is_its_own(&*fresh().await).await;
    files::a_blob_is_told_of_when_nobody_names_it(&*fresh().await).await;
    files::a_blob_is_told_of_until_it_has_a_row_or_is_gone(&*fresh().await).await;
    files::retention_removes_what_is_old_in_small_batches(&*fresh().await).await;
    files::an_upload_is_found_again(&*fresh().await).await;
    files::uploads_are_summed_by_owner(&*fresh().await).await;
    files::old_uploads_go_unless_unfinished_work_names_them(&*fresh().await).await;
}
