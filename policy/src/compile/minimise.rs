//! Merges states that answer alike whatever follows.
//!
//! This saves memory, but the main reason is precision: a folder may be renamed when the
//! automaton is in *the same state* below its old and its new name, and only in a minimal
//! automaton do equal rules mean equal states.
//!
//! The algorithm is Valmari and Lehtinen's partition refinement ("Efficient Minimization of DFAs
//! with Partial Transition Functions", 2008): it takes m log n steps for m transitions, and steps
//! into the dead state, most of any path table, are not transitions.

use super::automaton::Plain;

/// The smallest automaton that answers as `plain` does. States from which nothing can match any
/// more become the dead state 0.
pub(super) fn minimise(plain: &Plain) -> Plain {
    let edges = live_edges(plain);
    let blocks = refine(&plain.accepts, &edges);
    let mut builder = Rebuild { plain, blocks: &blocks, live: &edges.live };
    builder.rebuild()
}

/// Transitions between live states, sorted by class.
struct Edges {
    live: Vec<bool>,
    tails: Vec<u32>,
    heads: Vec<u32>,
    /// Where each class begins, and the end.
    starts: Vec<usize>,
}

fn live_edges(plain: &Plain) -> Edges {
    let states = plain.accepts.len();
    let live = live_states(plain);
    let (mut tails, mut heads, mut starts) = (Vec::new(), Vec::new(), vec![0]);
    for class in 0..plain.class_count {
        for tail in 0..states {
            let head = plain.transitions[tail * plain.class_count + class];
            if live[tail] && live[head as usize] {
                tails.push(tail as u32);
                heads.push(head);
            }
        }
        starts.push(tails.len());
    }
    Edges { live, tails, heads, starts }
}

/// The states from which a state with an entry of its own can be reached.
fn live_states(plain: &Plain) -> Vec<bool> {
    let states = plain.accepts.len();
    let into = Adjacent::new(states, &plain.transitions);
    let mut live: Vec<bool> = plain.accepts.iter().map(|entry| *entry != 0).collect();
    let mut work: Vec<usize> = (0..states).filter(|state| live[*state]).collect();
    while let Some(state) = work.pop() {
        for edge in into.of(state) {
            let source = *edge as usize / plain.class_count;
            if !live[source] {
                live[source] = true;
                work.push(source);
            }
        }
    }
    live
}

/// For each state the edges that lead to it.
struct Adjacent {
    edges: Vec<u32>,
    starts: Vec<usize>,
}

impl Adjacent {
    fn new(states: usize, heads: &[u32]) -> Self {
        let mut starts = vec![0; states + 1];
        for head in heads {
            starts[*head as usize] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut edges = vec![0; heads.len()];
        for (edge, head) in heads.iter().enumerate() {
            starts[*head as usize] -= 1;
            edges[starts[*head as usize]] = edge as u32;
        }
        Self { edges, starts }
    }

    fn of(&self, state: usize) -> &[u32] {
        &self.edges[self.starts[state]..self.starts[state + 1]]
    }
}

/// A partition of the numbers below n that can be refined by marking elements and then splitting
/// every set in which some, but not all, are marked.
struct Partition {
    /// The elements, those of a set together, its marked ones first.
    elements: Vec<u32>,
    place: Vec<u32>,
    set: Vec<u32>,
    first: Vec<u32>,
    past: Vec<u32>,
    marked: Vec<u32>,
    touched: Vec<u32>,
}

impl Partition {
    /// Puts the elements, given sorted by key, into one set for each key.
    fn new(sorted: Vec<u32>, key: impl Fn(u32) -> u32) -> Self {
        let count = sorted.len();
        let mut this = Self {
            elements: sorted,
            place: vec![0; count],
            set: vec![0; count],
            first: Vec::new(),
            past: Vec::new(),
            marked: Vec::new(),
            touched: Vec::new(),
        };
        let mut last = None;
        for at in 0..count {
            let element = this.elements[at];
            if last.replace(key(element)) != Some(key(element)) {
                this.first.push(at as u32);
                this.past.push(at as u32);
                this.marked.push(0);
            }
            let set = this.first.len() - 1;
            this.past[set] = at as u32 + 1;
            this.set[element as usize] = set as u32;
            this.place[element as usize] = at as u32;
        }
        this
    }

    fn sets(&self) -> usize {
        self.first.len()
    }

    fn range(&self, set: usize) -> std::ops::Range<usize> {
        self.first[set] as usize..self.past[set] as usize
    }

    fn mark(&mut self, element: u32) {
        let set = self.set[element as usize] as usize;
        let from = self.place[element as usize];
        let to = self.first[set] + self.marked[set];
        if from < to {
            return;
        }
        let other = self.elements[to as usize];
        self.elements[from as usize] = other;
        self.place[other as usize] = from;
        self.elements[to as usize] = element;
        self.place[element as usize] = to;
        if self.marked[set] == 0 {
            self.touched.push(set as u32);
        }
        self.marked[set] += 1;
    }

    /// The smaller part of each split set becomes a new set: that bounds the work.
    fn split(&mut self) {
        while let Some(set) = self.touched.pop() {
            let set = set as usize;
            let middle = self.first[set] + self.marked[set];
            self.marked[set] = 0;
            if middle == self.past[set] {
                continue;
            }
            let new = self.sets();
            if middle - self.first[set] <= self.past[set] - middle {
                self.first.push(self.first[set]);
                self.past.push(middle);
                self.first[set] = middle;
            } else {
                self.first.push(middle);
                self.past.push(self.past[set]);
                self.past[set] = middle;
            }
            self.marked.push(0);
            for at in self.range(new) {
                self.set[self.elements[at] as usize] = new as u32;
            }
        }
    }
}

/// For each state the number of its block: states in one block answer alike for ever.
fn refine(accepts: &[u32], edges: &Edges) -> Vec<u32> {
    let mut states: Vec<u32> = (0..accepts.len() as u32).collect();
    states.sort_by_key(|state| accepts[*state as usize]);
    let mut blocks = Partition::new(states, |state| accepts[state as usize]);
    let class_of = |edge: u32| edges.starts.partition_point(|start| *start <= edge as usize) as u32;
    let mut cords = Partition::new((0..edges.tails.len() as u32).collect(), class_of);
    let into = Adjacent::new(accepts.len(), &edges.heads);
    // One block of the first need not be looked at: the others tell it apart.
    let (mut block, mut cord) = (1, 0);
    while cord < cords.sets() {
        for at in cords.range(cord) {
            blocks.mark(edges.tails[cords.elements[at] as usize]);
        }
        blocks.split();
        cord += 1;
        while block < blocks.sets() {
            for at in blocks.range(block) {
                for edge in into.of(blocks.elements[at] as usize) {
                    cords.mark(*edge);
                }
            }
            cords.split();
            block += 1;
        }
    }
    blocks.set
}

/// Numbers blocks in the order in which they are reached, so that states that follow each other
/// on a path lie close in memory.
struct Rebuild<'a> {
    plain: &'a Plain,
    blocks: &'a [u32],
    live: &'a [bool],
}

impl Rebuild<'_> {
    fn rebuild(&mut self) -> Plain {
        let plain = self.plain;
        let mut numbers = vec![0; plain.accepts.len()];
        // A state of each block, by the block's new number.
        let mut list = vec![0];
        let mut number = |list: &mut Vec<usize>, state: usize| -> u32 {
            if !self.live[state] {
                return 0;
            }
            let number = &mut numbers[self.blocks[state] as usize];
            if *number == 0 {
                *number = list.len() as u32;
                list.push(state);
            }
            *number
        };
        let start = number(&mut list, plain.start as usize);
        let mut transitions = vec![0; plain.class_count];
        let mut accepts = vec![0];
        let mut next = 1;
        while let Some(state) = list.get(next).copied() {
            next += 1;
            let row = state * plain.class_count;
            for class in 0..plain.class_count {
                let head = plain.transitions[row + class] as usize;
                transitions.push(number(&mut list, head));
            }
            accepts.push(plain.accepts[state]);
        }
        Plain { class_count: plain.class_count, start, transitions, accepts }
    }
}
