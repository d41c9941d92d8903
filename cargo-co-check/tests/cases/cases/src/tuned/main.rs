//! Cases that the analysis was made with.

#![allow(dead_code, clippy::all, reason = "these are cases, not an example to follow")]

#[path = "../harness.rs"]
mod harness;

run_cases! {
    calls: bad_direct bad_two_deep bad_method bad_generic bad_generic_of_library bad_closure_of_iterator bad_closure_of_sort
        bad_dyn_made_here bad_dyn_given bad_pointer_made_here bad_pointer_given bad_pointer_in_table bad_other_crate
        bad_other_crate_closure bad_other_crate_dyn_closure bad_timeout_twin bad_ctx_twin bad_declared_twin bad_display
        bad_operator bad_once bad_thread_local bad_boxed_closure bad_iterator bad_macro bad_recursion bad_catch_unwind
        bad_scope_itself bad_block_in_place bad_map_by_path bad_alias ok_mixed ok_mixed_method ok_mixed_in_closure
        ok_name_of_another_function ok_name_of_another_method ok_asked_first ok_dyn_of_another_type ok_pointer_kept
        ok_closure_returned ok_name_of_type ok_generic_of_another_type ok_in_text ok_shadowed;
    drops: bad_drop bad_drop_in_vec bad_drop_of_last_arc bad_drop_after_await bad_drop_of_cancelled_future ok_forgotten
        ok_returned ok_dropped_on_thread;
    futures: bad_async_block bad_async_closure bad_async_trait_method bad_manual_future bad_poll_fn bad_before_the_future
        bad_spawned bad_nested_block_on bad_library ok_awaited ok_spawn_blocking ok_spawn_blocking_of_handle ok_unblock
        ok_thread ok_thread_deep ok_thread_builder ok_thread_in_scope ok_one_shot_bottom_half ok_bottom_half ok_no_co
        ok_task_of_tokio ok_sent_to_worker;
}
