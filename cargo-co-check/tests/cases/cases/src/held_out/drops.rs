//! Destructors that flush, and values that have none to run.

pub mod bad_vec_cleared {
    use crate::harness::*;
    pub async fn run() {
        let mut guards = vec![Guard(1), Guard(2)];
        guards.clear();
    }
}

pub mod bad_option_replaced {
    use crate::harness::*;
    pub async fn run() {
        let mut slot = Some(Guard(1));
        slot.replace(Guard(2)).map(std::mem::forget);
        slot = None;
        std::hint::black_box(&slot);
    }
}

pub mod ok_option_none {
    use crate::harness::*;
    pub async fn run() {
        let guard: Option<Guard> = None;
        drop(guard);
    }
}

pub mod ok_option_taken {
    use crate::harness::*;
    pub async fn run() {
        let mut guard = Some(Guard(1));
        if let Some(guard) = guard.take() {
            std::mem::forget(guard);
        }
    }
}

pub mod ok_result_err {
    use crate::harness::*;
    fn open(fails: bool) -> Result<Guard, u8> {
        if fails { Err(3) } else { Ok(Guard(1)) }
    }
    pub async fn run() {
        let opened = open(true);
        assert!(opened.is_err());
    }
}

pub mod bad_box_dyn_dropped {
    use crate::harness::*;
    trait Any {}
    impl Any for Guard {}
    pub async fn run() {
        let any: Box<dyn Any> = Box::new(Guard(1));
        drop(any);
    }
}

pub mod ok_arc_kept_elsewhere {
    use crate::harness::*;
    use std::sync::{Arc, OnceLock};
    static KEPT: OnceLock<Arc<Guard>> = OnceLock::new();
    pub async fn run() {
        let guard = KEPT.get_or_init(|| Arc::new(Guard(1))).clone();
        drop(guard);
    }
}

pub mod ok_rc_not_last {
    use crate::harness::*;
    use std::rc::Rc;
    pub async fn run() {
        let first = Rc::new(Guard(1));
        let second = first.clone();
        drop(first);
        std::mem::forget(second);
    }
}

pub mod bad_struct_field {
    use crate::harness::*;
    struct Image {
        _name: String,
        _guard: Guard,
    }
    pub async fn run() {
        let _image = Image { _name: "a".into(), _guard: Guard(1) };
        yield_once().await;
    }
}

pub mod bad_map_insert_replaces {
    use crate::harness::*;
    pub async fn run() {
        let mut map = std::collections::HashMap::new();
        map.insert(1, Guard(1));
        map.insert(1, Guard(2));
        std::mem::forget(map);
    }
}

pub mod ok_empty_vec {
    use crate::harness::*;
    pub async fn run() {
        let guards: Vec<Guard> = Vec::new();
        drop(guards);
    }
}

pub mod ok_manually_drop {
    use crate::harness::*;
    pub async fn run() {
        let _guard = std::mem::ManuallyDrop::new(Guard(1));
    }
}
