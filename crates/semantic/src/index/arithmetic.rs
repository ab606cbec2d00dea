//! The loops of the index, written so that a compiler makes vector instructions of them, and how far each may be off.

/// Rows are padded with zeros to a multiple of this.
pub(super) const BLOCK: usize = 32;

/// Sums that a dot product of floats is added up in, side by side.
const LANES: usize = 16;

/// `a·b` of slices of one length, a multiple of [`BLOCK`]. Always added up in the same order: the same bits on every
/// platform.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The dot product of codes, slices of one length, a multiple of [`BLOCK`]. Blocks of fixed size, because compilers
/// then multiply whole registers of 16 bits and add the products up in 32 (`pmaddwd`); twice as fast as a plain loop.
pub(super) fn product(row: &[i8], query: &[i16]) -> i32 {
    let blocks = row.as_chunks::<BLOCK>().0.iter().zip(query.as_chunks::<BLOCK>().0);
    let of_block = |(row, query): (&[i8; BLOCK], &[i16; BLOCK])| {
        // Widened first and by a loop of its own: asked for both at once, compilers widen to 32 bits.
        let mut wide = [0i16; BLOCK];
        wide.iter_mut().zip(row).for_each(|(wide, code)| *wide = i16::from(*code));
        wide.iter().zip(query).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>()
    };
    blocks.map(of_block).sum()
}

/// The length of a vector, rounded up; infinite or NaN where a number is not finite or too great.
pub(super) fn length(vector: &[f32]) -> f32 {
    let squares: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    up(squares.sqrt())
}

/// Scales a vector to length 1; one without a direction becomes all zeros.
pub(crate) fn normalise(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let scale = if squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 };
    for x in vector {
        *x = (f64::from(*x) * scale) as f32;
    }
}

/// No sum of `n` products of floats is further than this share of the lengths from the true one, with a margin for
/// the handful of operations around it (Higham 2002, section 3.1).
pub(super) fn rounding(n: usize) -> f32 {
    (n + 16) as f32 * f32::EPSILON
}

fn up(value: f64) -> f32 {
    // An f64 sum of squares is off by far less than the step of an f32.
    ((value * (1.0 + 1e-12)) as f32).next_up()
}

/// A vector in small whole numbers.
pub(super) struct Codes {
    pub(super) codes: Vec<i16>,
    /// What one step is worth.
    pub(super) step: f32,
    /// Length of the difference to what the codes stand for, rounded up.
    pub(super) residual: f32,
}

impl Codes {
    /// The nearest codes of at most `most` in size.
    pub(super) fn of(vector: &[f32], most: i16) -> Self {
        let greatest = vector.iter().fold(0.0f32, |greatest, x| greatest.max(x.abs()));
        let step = greatest / f32::from(most);
        let inverse = if step > 0.0 { f32::from(most) / greatest } else { 0.0 };
        let code = |x: &f32| (x * inverse).round().clamp(-f32::from(most), f32::from(most)) as i16;
        let codes: Vec<i16> = vector.iter().map(code).collect();
        let left = |(x, code): (&f32, &i16)| f64::from(*x) - f64::from(step) * f64::from(*code);
        let squares: f64 = vector.iter().zip(&codes).map(left).map(|left| left * left).sum();
        Self { codes, step, residual: up(squares.sqrt()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_leave_out_no_more_than_they_say(
            vector in prop::collection::vec(-10.0..10.0f32, 1..70), most in 1i16..=i16::MAX,
        ) {
            let coded = Codes::of(&vector, most);
            let left = vector.iter().zip(&coded.codes).map(|(x, c)| f64::from(*x) - f64::from(coded.step) * f64::from(*c));
            prop_assert!(left.map(|x| x * x).sum::<f64>().sqrt() <= f64::from(coded.residual));
            prop_assert!(coded.codes.iter().all(|code| (-most..=most).contains(code)));
        }

        #[test]
        fn a_dot_product_is_within_its_rounding(
            pairs in prop::collection::vec((-1.0..1.0f32, -1.0..1.0f32), 48),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let slack = f64::from(rounding(48) * length(&a) * length(&b));
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() <= slack);
        }
    }

    #[test]
    fn what_has_no_direction_stays_zero() {
        let mut vector = [0.0f32; 3];
        normalise(&mut vector);
        assert_eq!(vector, [0.0; 3]);
        let coded = Codes::of(&vector, 127);
        assert_eq!((coded.codes, coded.step), (vec![0; 3], 0.0));
        let mut vector = [3.0, 0.0, -4.0];
        normalise(&mut vector);
        assert_eq!(vector, [0.6, 0.0, -0.8]);
        assert_eq!(product(&[127; 64], &[-3; 64]), -127 * 3 * 64);
    }
}
