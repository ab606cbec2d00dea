//! A line through points.

use anyhow::{Result, ensure};

/// What something takes: a fixed part, and a part for each token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) fixed: f64,
    pub(super) by_token: f64,
    /// The share of the variance that the line explains.
    pub(super) r2: f64,
}

impl Line {
    /// The line of least squares.
    pub(super) fn through(points: &[(f64, f64)]) -> Result<Self> {
        let n = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
        let sxx: f64 = points.iter().map(|(x, _)| (x - mx).powi(2)).sum();
        ensure!(sxx > 0.0, "a line takes points at two lengths at least");
        let sxy: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
        let syy: f64 = points.iter().map(|(_, y)| (y - my).powi(2)).sum();
        let by_token = sxy / sxx;
        let r2 = if syy > 0.0 { sxy * sxy / (sxx * syy) } else { 1.0 };
        Ok(Self { fixed: my - by_token * mx, by_token, r2 })
    }

    /// What it takes at so many tokens.
    pub(super) fn at(self, tokens: f64) -> f64 {
        self.fixed + self.by_token * tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_again() {
        let line = Line::through(&[(16.0, 13.6), (64.0, 18.4), (256.0, 37.6)]).unwrap();
        assert!((line.fixed - 12.0).abs() < 1e-9 && (line.by_token - 0.1).abs() < 1e-9);
        assert!((line.r2 - 1.0).abs() < 1e-9 && (line.at(128.0) - 24.8).abs() < 1e-9);
        assert!(Line::through(&[(16.0, 1.0), (16.0, 2.0)]).is_err());
    }
}
