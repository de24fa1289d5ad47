//! Reads the committed table.

use warp::http::Method;

/// The file.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) sections: Vec<Section>,
}

/// One table of it.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) faults: Vec<Fault>,
    pub(crate) rows: Vec<Row>,
}

/// One column.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) name: String,
    /// The rule that refuses it; `-` for none.
    pub(crate) rule: String,
}

/// One route, perhaps with a query.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) method: Method,
    pub(crate) pattern: String,
    /// What an operator needs; `-` for nothing.
    pub(crate) permission: String,
    pub(crate) cells: Vec<String>,
}

impl Row {
    /// The pattern as the router has it.
    pub(crate) fn path(&self) -> &str {
        self.pattern.split('?').next().unwrap_or_default()
    }
}

impl Table {
    pub(crate) fn read() -> Self {
        let mut sections: Vec<Section> = Vec::new();
        let mut head: Vec<&str> = Vec::new();
        for line in include_str!("table.txt").lines() {
            if let Some(title) = line.strip_prefix("== ") {
                head.clear();
                sections.push(Section {
                    title: title.trim_end_matches([' ', '=']).to_owned(),
                    faults: Vec::new(),
                    rows: Vec::new(),
                });
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() || line.starts_with('#') {
                continue;
            }
            let section = sections.last_mut().expect("a section comes first");
            if words[0] == "route" {
                head = words[1..].to_vec();
                let names: Vec<&str> = section.faults.iter().map(|f| f.name.as_str()).collect();
                let columns = head.iter().filter(|name| **name != "permission");
                assert!(columns.eq(&names), "the columns are the faults: {line}");
            } else if head.is_empty() {
                section.faults.push(Fault {
                    name: words[0].to_owned(),
                    rule: words[1].to_owned(),
                });
            } else {
                section.rows.push(row(&head, &words));
            }
        }
        Self { sections }
    }

    pub(crate) fn section(&self, title: &str) -> &Section {
        let found = self.sections.iter().find(|section| section.title == title);
        found.expect("a section of this title")
    }
}

fn row(head: &[&str], words: &[&str]) -> Row {
    assert_eq!(
        words.len(),
        head.len() + 2,
        "a cell for every column: {words:?}"
    );
    let mut row = Row {
        method: words[0].parse().expect("a method"),
        pattern: words[1].to_owned(),
        permission: "-".to_owned(),
        cells: Vec::new(),
    };
    for (name, word) in head.iter().zip(&words[2..]) {
        if *name == "permission" {
            (*word).clone_into(&mut row.permission);
        } else {
            row.cells.push((*word).to_owned());
        }
    }
    row
}
