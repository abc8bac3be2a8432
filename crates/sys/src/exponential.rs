//! exp(3), the one function of the C library's mathematics that is called: the library that
//! looks names up weighs its servers' answers with it. Whoever links the shared libm for it
//! has half a megabyte more resident, in every door, whether it looks a name up or not.

/// The two halves of ln 2: the product of the first one with a small integer is exact.
const LN_2: (f64, f64) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);

/// Terms of the series; the next one is below 2^-53 for |x| <= ln(2) / 2.
const TERMS: u32 = 14;

/// e to the power of `x`, within a few units of the last place; as exp(3), 0 and infinity
/// where the result is too small or too large, and not a number for what is none.
// SAFETY: exp(3) has this very signature, is called by nothing that counts on its errno or
// floating-point exceptions, and every caller in the process may as well have this one.
#[unsafe(no_mangle)]
pub extern "C" fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    // Beyond, the exponents below would not fit; a factor too many makes 0 or infinity.
    let x = x.clamp(-800.0, 800.0);
    let scaled = x * std::f64::consts::LOG2_E;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within +-1155 by the clamp"
    )]
    let power = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32;
    let rest = x - f64::from(power) * LN_2.0 - f64::from(power) * LN_2.1;
    let series = (1..=TERMS)
        .rev()
        .fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    // In two steps: 2^power may be none of the numbers that the result is.
    let half = power / 2;
    series * power_of_two(half) * power_of_two(power - half)
}

/// 2 to the power of `exponent`, which is within -1022..=1023.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::from((1023 + exponent).unsigned_abs()) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Written out: f64::exp would call what is tested.
        for (x, expected) in [
            (0.0, 1.0),
            (1.0, std::f64::consts::E),
            (-1.0, 0.367_879_441_171_442_33),
            (0.5, 1.648_721_270_700_128_2),
            (-0.001, 0.999_000_499_833_375),
            (10.0, 22_026.465_794_806_718),
            (-20.5, 1.250_152_866_386_743e-9),
            (700.0, 1.014_232_054_735_004_5e304),
            (-700.0, 9.859_676_543_759_77e-305),
        ] {
            let error = (exp(x) / expected - 1.0).abs();
            assert!(error < 1e-14, "exp({x}) = {}, {error}", exp(x));
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e6), 0.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert_eq!(exp(710.0), f64::INFINITY);
        assert!(exp(f64::NAN).is_nan());
        assert!(exp(-740.0) > 0.0, "subnormal numbers are numbers");
    }

    #[test]
    fn powers_multiply() {
        for step in -500..500 {
            let x = f64::from(step) / 7.0;
            let error = (exp(x) * exp(-x) - 1.0).abs();
            assert!(error < 1e-13, "{x}: {error}");
        }
    }
}
