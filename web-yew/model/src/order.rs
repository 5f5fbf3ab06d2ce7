//! Sorting, compiled once. The standard library's is compiled anew for each type and each order, at 5 KiB a time in every download; here
//! places are sorted, through a pointer, and the rows follow them.

use std::cmp::{Ordering, Reverse};

/// As `slice::sort_by`: rows that are equal stay as they stood.
pub fn by<T>(rows: &mut Vec<T>, mut order: impl FnMut(&T, &T) -> Ordering) {
    let mut places: Vec<usize> = (0..rows.len()).collect();
    sort(&mut places, &mut |a, b| order(&rows[a], &rows[b]));
    let mut taken: Vec<Option<T>> = rows.drain(..).map(Some).collect();
    rows.extend(places.into_iter().filter_map(|place| taken[place].take()));
}

/// The greatest first.
pub fn by_greatest<T, K: Ord>(rows: &mut Vec<T>, key: impl Fn(&T) -> K) {
    by(rows, |a, b| Reverse(key(a)).cmp(&Reverse(key(b))));
}

fn sort(places: &mut [usize], order: &mut dyn FnMut(usize, usize) -> Ordering) {
    places.sort_by(|a, b| order(*a, *b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_equal_ones_stay_as_they_stood() {
        let mut rows: Vec<(u32, String)> = (0..200u32).map(|n| (n * 7919 % 10, n.to_string())).collect();
        let mut wanted = rows.clone();
        wanted.sort_by_key(|entry| entry.0);
        by(&mut rows, |a, b| a.0.cmp(&b.0));
        assert_eq!(rows, wanted);
        wanted.sort_by_key(|row| Reverse(row.0));
        by_greatest(&mut rows, |row| row.0);
        assert_eq!(rows, wanted);
        by(&mut Vec::<u8>::new(), |_, _| Ordering::Equal);
    }
}
