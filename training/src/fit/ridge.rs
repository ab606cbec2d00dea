//! Ridge regression on a query's linear features: n-grams, surface features, the encoder's vector, a general axis
//! known before. A fit starts at one for each pair's wins and one for each model's successes: squared loss on graded
//! gains ranks better than a logistic fit of the same features (docs/experiments.md) and needs no learning rate.
//! (Hoerl and Kennard 1970; solved by conjugate gradients with a diagonal preconditioner: Hestenes and Stiefel
//! 1952, Saad 2003, algorithm 9.1.)

use classifier::NgramTable;

use super::targets::Prepared;

/// Steps of the solver at most; far fewer change the third digit of a weight.
const STEPS: usize = 60;

/// The residual, relative to the right-hand side, at which it stops.
const TOLERANCE: f64 = 1e-3;

/// Penalties beside the sum of squares, by kind of feature.
#[derive(Debug, Clone)]
pub(crate) struct Penalties {
    pub(crate) wide: f64,
    /// How many dense features of a kind there are, and their penalty.
    pub(crate) dense: Vec<(usize, f64)>,
}

/// The features of some rows, sparse and dense side by side.
pub(crate) struct Design {
    /// Where each row's n-grams begin; one more than rows.
    starts: Vec<usize>,
    ids: Vec<u32>,
    tfidf: Vec<f32>,
    /// `[rows, width]`, standardised.
    dense: Vec<f32>,
    width: usize,
    ngrams: usize,
    /// Penalty of each feature, n-grams first.
    penalties: Vec<f64>,
}

/// What a regression found: weights of the n-grams and of the dense features.
pub(crate) struct Weights {
    pub(crate) wide: Vec<f32>,
    pub(crate) dense: Vec<f32>,
}

impl Weights {
    /// Adds a multiple of other weights, as far as they go.
    pub(crate) fn add(&mut self, other: &Self, factor: f64) {
        let add = |(w, o): (&mut f32, &f32)| *w += factor as f32 * o;
        self.wide.iter_mut().zip(&other.wide).for_each(add);
        self.dense.iter_mut().zip(&other.dense).for_each(add);
    }

    /// Multiplies every weight.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.wide.iter_mut().chain(&mut self.dense).for_each(|w| *w *= factor as f32);
    }
}

impl Design {
    /// `dense` gives the dense features of a row in the order of their penalties, standardised.
    pub(crate) fn new(
        data: &Prepared,
        rows: &[usize],
        ngrams: &NgramTable,
        dense: impl Fn(usize) -> Vec<f32>,
        penalties: &Penalties,
    ) -> Self {
        let mut design = Self::empty(&[(ngrams.len(), penalties.wide)], &penalties.dense);
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for row in rows {
            ids.clear();
            weights.clear();
            ngrams.weigh(&data.features[*row], &mut ids, &mut weights);
            let sparse = ids.iter().map(|id| id.unsigned_abs()).zip(weights.iter().copied());
            design.push(sparse, dense(*row));
        }
        design
    }

    /// A design without rows; of each kind of sparse and of dense features it is told how many there are, and their
    /// penalty.
    pub(crate) fn empty(sparse: &[(usize, f64)], dense: &[(usize, f64)]) -> Self {
        let each = |kinds: &[(usize, f64)]| -> Vec<f64> {
            kinds.iter().flat_map(|(n, penalty)| std::iter::repeat_n(*penalty, *n)).collect()
        };
        Self {
            starts: vec![0],
            ids: Vec::new(),
            tfidf: Vec::new(),
            dense: Vec::new(),
            width: dense.iter().map(|(n, _)| n).sum(),
            ngrams: sparse.iter().map(|(n, _)| n).sum(),
            penalties: each(sparse).into_iter().chain(each(dense)).collect(),
        }
    }

    /// Adds a row: the sparse features it has, and all dense ones.
    pub(crate) fn push(
        &mut self,
        sparse: impl Iterator<Item = (u32, f32)>,
        dense: impl IntoIterator<Item = f32>,
    ) {
        for (id, value) in sparse {
            self.ids.push(id);
            self.tfidf.push(value);
        }
        self.starts.push(self.ids.len());
        self.dense.extend(dense);
    }

    /// The same with one dense feature more, the last.
    pub(crate) fn with_feature(&self, values: &[f64], penalty: f64) -> Self {
        let (starts, ids, tfidf) = (self.starts.clone(), self.ids.clone(), self.tfidf.clone());
        let mut dense = Vec::with_capacity(self.dense.len() + values.len());
        for (i, value) in values.iter().enumerate() {
            dense.extend(&self.dense[i * self.width..][..self.width]);
            dense.push(*value as f32);
        }
        let penalties = self.penalties.iter().copied().chain([penalty]).collect();
        Self { starts, ids, tfidf, dense, width: self.width + 1, ngrams: self.ngrams, penalties }
    }

    fn row(&self, i: usize) -> (impl Iterator<Item = (usize, f64)>, &[f32]) {
        let span = self.starts[i]..self.starts[i + 1];
        let sparse = self.ids[span.clone()].iter().zip(&self.tfidf[span]);
        let dense = &self.dense[i * self.width..][..self.width];
        (sparse.map(|(id, w)| (*id as usize, f64::from(*w))), dense)
    }

    /// What weights say of a row, less the constant.
    pub(crate) fn read(&self, i: usize, weights: &Weights) -> f64 {
        let (sparse, dense) = self.row(i);
        let wide: f64 = sparse.map(|(id, w)| w * f64::from(weights.wide[id])).sum();
        wide + dense.iter().zip(&weights.dense).map(|(x, a)| f64::from(*x) * f64::from(*a)).sum::<f64>()
    }

    fn predict(&self, i: usize, at: &[f64]) -> f64 {
        let (sparse, dense) = self.row(i);
        let wide: f64 = sparse.map(|(id, w)| w * at[id]).sum();
        wide + dense.iter().zip(&at[self.ngrams..]).map(|(x, a)| f64::from(*x) * a).sum::<f64>()
    }

    fn add(&self, i: usize, factor: f64, to: &mut [f64]) {
        let (sparse, dense) = self.row(i);
        sparse.for_each(|(id, w)| to[id] += factor * w);
        dense.iter().zip(&mut to[self.ngrams..]).for_each(|(x, t)| *t += factor * f64::from(*x));
    }

    /// `(X'WX + penalties) at`, over the rows that have a target.
    fn normal(&self, targets: &[Option<(f64, f64)>], at: &[f64]) -> Vec<f64> {
        let mut out: Vec<f64> = self.penalties.iter().zip(at).map(|(p, a)| p * a).collect();
        for (i, target) in targets.iter().enumerate() {
            if let Some((_, weight)) = target {
                self.add(i, weight * self.predict(i, at), &mut out);
            }
        }
        out
    }

    fn diagonal(&self, targets: &[Option<(f64, f64)>]) -> Vec<f64> {
        let mut out = self.penalties.clone();
        for (i, target) in targets.iter().enumerate() {
            let Some((_, weight)) = target else { continue };
            let (sparse, dense) = self.row(i);
            sparse.for_each(|(id, w)| out[id] += weight * w * w);
            let dense = dense.iter().zip(&mut out[self.ngrams..]);
            dense.for_each(|(x, t)| *t += weight * f64::from(*x).powi(2));
        }
        out
    }

    /// The weights that minimise the weighted squared error to the targets, less their mean, plus the penalties.
    /// `targets` holds a value and a weight for each row that has one.
    pub(crate) fn solve(&self, targets: &[Option<(f64, f64)>]) -> Weights {
        let total: f64 = targets.iter().flatten().map(|(_, w)| w).sum();
        let mean = targets.iter().flatten().map(|(y, w)| y * w).sum::<f64>() / total.max(f64::MIN_POSITIVE);
        let mut residual = vec![0.0; self.penalties.len()];
        for (i, target) in targets.iter().enumerate() {
            if let Some((value, weight)) = target {
                self.add(i, weight * (value - mean), &mut residual);
            }
        }
        let diagonal = self.diagonal(targets);
        let scaled = |r: &[f64]| -> Vec<f64> { r.iter().zip(&diagonal).map(|(r, d)| r / d).collect() };
        let mut at = vec![0.0; residual.len()];
        let mut direction = scaled(&residual);
        let mut energy = dot(&residual, &direction);
        let enough = TOLERANCE * TOLERANCE * energy;
        for _ in 0..STEPS {
            if energy <= enough || energy == 0.0 {
                break;
            }
            let image = self.normal(targets, &direction);
            let length = energy / dot(&direction, &image);
            at.iter_mut().zip(&direction).for_each(|(a, d)| *a += length * d);
            residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= length * i);
            let next = scaled(&residual);
            let new = dot(&residual, &next);
            direction = next.iter().zip(&direction).map(|(n, d)| n + new / energy * d).collect();
            energy = new;
        }
        let floats = |values: &[f64]| values.iter().map(|v| *v as f32).collect();
        Weights { wide: floats(&at[..self.ngrams]), dense: floats(&at[self.ngrams..]) }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Ability vectors under which pair `p` reads axis `p` alone: the least-norm V with `V[strong] - V[weak] = e_p`
/// for every pair `(strong, weak)`, `[models][pairs]`. Exact unless pairs close a circle.
pub(crate) fn axes_of_pairs(pairs: &[(usize, usize)], models: usize) -> Vec<Vec<f64>> {
    let n = pairs.len();
    let incidence =
        |p: usize, m: usize| f64::from(i8::from(pairs[p].0 == m)) - f64::from(i8::from(pairs[p].1 == m));
    // Gram matrix of the pairs beside the identity, reduced by Gauss and Jordan; it is small.
    let mut table: Vec<Vec<f64>> = (0..n)
        .map(|p| {
            let gram = |q| (0..models).map(|m| incidence(p, m) * incidence(q, m)).sum::<f64>();
            let tiny = |q| f64::from(u8::from(p == q)) * 1e-9;
            let identity = (0..n).map(|q| f64::from(u8::from(p == q)));
            (0..n).map(|q| gram(q) + tiny(q)).chain(identity).collect()
        })
        .collect();
    for p in 0..n {
        let best = (p..n).max_by(|a, b| table[*a][p].abs().total_cmp(&table[*b][p].abs())).unwrap_or(p);
        table.swap(p, best);
        let pivot = table[p][p];
        table[p].iter_mut().for_each(|v| *v /= pivot);
        let row = table[p].clone();
        for (q, other) in table.iter_mut().enumerate() {
            let factor = other[p];
            if q != p {
                other.iter_mut().zip(&row).for_each(|(o, r)| *o -= factor * r);
            }
        }
    }
    let of = |m: usize, p: usize| (0..n).map(|q| incidence(q, m) * table[q][n + p]).sum();
    (0..models).map(|m| (0..n).map(|p| of(m, p)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_reads_its_own_axis() {
        for pairs in [vec![(1, 0)], vec![(2, 0), (2, 1)], vec![(1, 0), (2, 1), (4, 3)]] {
            let axes = axes_of_pairs(&pairs, 5);
            for (p, (strong, weak)) in pairs.iter().enumerate() {
                for (q, (high, low)) in axes[*strong].iter().zip(&axes[*weak]).enumerate() {
                    let read = high - low;
                    let expected = f64::from(u8::from(p == q));
                    assert!((read - expected).abs() < 1e-6, "{pairs:?}: pair {p} reads {read} of axis {q}");
                }
            }
        }
    }

    fn design(dense: &[&[f32]], penalty: f64) -> Design {
        let width = dense[0].len();
        // Each row has an n-gram of its own and one in common.
        Design {
            starts: (0..=dense.len()).map(|i| 2 * i).collect(),
            ids: (0..dense.len() as u32).flat_map(|i| [0, i + 1]).collect(),
            tfidf: vec![0.5; 2 * dense.len()],
            dense: dense.concat(),
            width,
            ngrams: dense.len() + 1,
            penalties: vec![penalty; dense.len() + 1 + width],
        }
    }

    #[test]
    fn the_solution_has_no_gradient() {
        let design = design(&[&[1.0, 0.2], &[-0.5, 1.0], &[0.3, -1.0], &[0.9, 0.9]], 0.3);
        let targets = [Some((1.0, 1.0)), None, Some((0.0, 2.0)), Some((0.5, 1.0))];
        let found = design.solve(&targets);
        let at: Vec<f64> = found.wide.iter().chain(&found.dense).map(|v| f64::from(*v)).collect();
        let mean = 1.5 / 4.0;
        let mut gradient = design.normal(&targets, &at);
        for (i, target) in targets.iter().enumerate() {
            if let Some((value, weight)) = target {
                design.add(i, -weight * (value - mean), &mut gradient);
            }
        }
        assert!(gradient.iter().all(|g| g.abs() < 2e-3), "{gradient:?}");
        assert_eq!(at[2], 0.0, "the n-gram of the row without a target was never seen");
    }

    #[test]
    fn a_heavy_penalty_leaves_nothing() {
        let found = design(&[&[1.0], &[-1.0]], 1e9).solve(&[Some((1.0, 1.0)), Some((0.0, 1.0))]);
        assert!(found.wide.iter().chain(&found.dense).all(|w| w.abs() < 1e-6));
    }
}
