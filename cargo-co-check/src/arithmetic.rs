//! What comes out of an operation on values of which something is known.

use crate::memory::Value;

fn mask(bits: u64) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

/// Of integers in so many bits. A pointer keeps what it points to when a part of it is asked for that is the same for all objects:
/// they are aligned to 16 bytes.
pub fn apply(operation: &str, bits: u64, one: &Value, two: &Value) -> Value {
    use Value::{Integer, Pointer};
    match (operation, one, two) {
        ("add", Integer(a), Integer(b)) => Integer(a.wrapping_add(*b) & mask(bits)),
        ("sub", Integer(a), Integer(b)) => Integer(a.wrapping_sub(*b) & mask(bits)),
        ("mul", Integer(a), Integer(b)) => Integer(a.wrapping_mul(*b) & mask(bits)),
        ("and", Integer(a), Integer(b)) => Integer(a & b & mask(bits)),
        ("or", Integer(a), Integer(b)) => Integer((a | b) & mask(bits)),
        ("xor", Integer(a), Integer(b)) => Integer((a ^ b) & mask(bits)),
        ("shl", Integer(a), Integer(b)) if *b < 128 => Integer((a << b) & mask(bits)),
        ("lshr", Integer(a), Integer(b)) if *b < 128 => Integer((a & mask(bits)) >> b),
        ("and", Integer(0), _) | ("and", _, Integer(0)) => Integer(0),
        ("or", Integer(1), _) | ("or", _, Integer(1)) if bits == 1 => Integer(1),
        ("add", Pointer(object, Some(at)), Integer(by)) => Pointer(*object, at.checked_add(*by as i64)),
        ("sub", Pointer(object, Some(at)), Integer(by)) => Pointer(*object, at.checked_sub(*by as i64)),
        ("sub", Pointer(a, Some(from)), Pointer(b, Some(to))) if a == b => {
            Integer((from - to) as u64 as u128 & mask(bits))
        }
        ("and", Pointer(_, Some(at)), Integer(few)) if *few < 16 => Integer(*at as u64 as u128 & few),
        _ => Value::Unknown,
    }
}

/// Of an `icmp`.
pub fn compare(predicate: &str, one: &Value, two: &Value) -> Value {
    use Value::{Integer, Pointer, Symbol};
    let of = |is: bool| Integer(u128::from(is));
    match (predicate, one, two) {
        ("eq", Integer(a), Integer(b)) => of(a == b),
        ("ne", Integer(a), Integer(b)) => of(a != b),
        ("ult", Integer(a), Integer(b)) => of(a < b),
        ("ule", Integer(a), Integer(b)) => of(a <= b),
        ("ugt", Integer(a), Integer(b)) => of(a > b),
        ("uge", Integer(a), Integer(b)) => of(a >= b),
        // Nothing that is there is at 0.
        ("eq", Pointer(..) | Symbol(..), Integer(0)) | ("eq", Integer(0), Pointer(..) | Symbol(..)) => of(false),
        ("ne", Pointer(..) | Symbol(..), Integer(0)) | ("ne", Integer(0), Pointer(..) | Symbol(..)) => of(true),
        ("eq", Pointer(a, Some(from)), Pointer(b, Some(to))) if a == b => of(from == to),
        ("ne", Pointer(a, Some(from)), Pointer(b, Some(to))) if a == b => of(from != to),
        _ => Value::Unknown,
    }
}

/// To so many bits; with its sign, from so many.
pub fn cast(of: &Value, bits: u64, signed: Option<u64>) -> Value {
    match (of, signed) {
        (Value::Integer(number), None) => Value::Integer(number & mask(bits)),
        (Value::Integer(number), Some(from)) => {
            let number = number & mask(from);
            let is_negative = from > 0 && number >> (from - 1) & 1 == 1;
            Value::Integer(if is_negative { (number | !mask(from)) & mask(bits) } else { number })
        }
        (Value::Pointer(..) | Value::Symbol(..), None) if bits == 64 => of.clone(),
        _ => Value::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a result that has more bits than its type, or a sign that is lost.
    #[test]
    fn integers_stay_within_their_bits() {
        let (zero, one) = (Value::Integer(0), Value::Integer(1));
        assert_eq!(apply("sub", 8, &zero, &one), Value::Integer(255));
        assert_eq!(cast(&Value::Integer(255), 16, Some(8)), Value::Integer(0xffff));
        assert_eq!(cast(&Value::Integer(0x1ff), 8, None), Value::Integer(255));
        assert_eq!(compare("ult", &one, &Value::Integer(2)), one);
    }

    /// Catches: a pointer to an object taken for null, and two of them compared that are not in one object.
    #[test]
    fn pointers_are_compared_within_their_object() {
        let at = |object, offset| Value::Pointer(object, Some(offset));
        assert_eq!(compare("eq", &at(0, 0), &Value::Integer(0)), Value::Integer(0));
        assert_eq!(compare("eq", &at(0, 8), &at(0, 8)), Value::Integer(1));
        assert_eq!(compare("eq", &at(0, 8), &at(1, 8)), Value::Unknown);
    }
}
