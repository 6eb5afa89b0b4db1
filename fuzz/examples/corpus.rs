//! Writes seeds and dictionaries: `corpus FOLDER [DOCUMENTS]`.
//!
//! Below the folder, `corpus/policy_*` get random valid documents of each language, some with a
//! slip, and `policy_*.dict` the keys and words of the language; `corpus/dns_message` gets questions
//! with answers, and `corpus/cgroup_path` paths of each form.

mod dns;
#[path = "../../policy/tests/schemas/generate.rs"]
mod generate;
#[path = "../../policy/tests/schemas/mutate.rs"]
mod mutate;
#[path = "../../policy/tests/schemas/random.rs"]
mod random;
#[path = "../../policy/tests/schemas/yaml.rs"]
mod yaml;

use std::{collections::BTreeSet, env, error::Error, fs, path::Path};

use generate::Generator;
use mutate::Vocabulary;
use ringfence_policy::{Dialect, json_schema::json_schema};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("corpus FOLDER [DOCUMENTS]")?;
    let documents = arguments.next().map_or(Ok(200), |number| number.parse())?;
    let folder = Path::new(&folder);
    let mut all_words = BTreeSet::new();
    for dialect in Dialect::ALL {
        let schema = json_schema(dialect);
        let vocabulary = Vocabulary::of(&schema);
        let mut generator = Generator::new(&schema, 1);
        for number in 0..documents {
            let mut document = generator.document();
            if number % 4 == 0 {
                vocabulary.mutate(&mut document, &mut generator.random);
            }
            let text = yaml::text(&document, &mut generator.random);
            for target in [dialect.name(), "any"] {
                let corpus = folder.join(format!("corpus/policy_{target}"));
                fs::create_dir_all(&corpus)?;
                fs::write(corpus.join(format!("{dialect}-{number}.yaml")), &text)?;
            }
        }
        let words: BTreeSet<String> =
            vocabulary.words().map(|word| format!("{word:?}\n")).collect();
        write_dictionary(folder, dialect.name(), &words)?;
        all_words.extend(words);
    }
    write_dictionary(folder, "any", &all_words)?;
    write_paths(folder)?;
    dns::write(folder)
}

/// Paths of cgroups as the kubelet's two drivers make them, with each runtime.
fn write_paths(folder: &Path) -> Result<(), std::io::Error> {
    let corpus = folder.join("corpus/cgroup_path");
    fs::create_dir_all(&corpus)?;
    let id = "f00dfeed".repeat(8);
    let uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    let slices = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
    let slices = format!("/kubepods.slice/kubepods-burstable.slice/{slices}");
    let rooted = slices.replace("kubepods", "kubelet-kubepods");
    let paths = [
        format!("{slices}/cri-containerd-{id}.scope"),
        format!("{slices}/crio-{id}.scope/container"),
        format!("{slices}/crio-conmon-{id}.scope"),
        format!("/system.slice/docker-{id}.scope/kubelet.slice{rooted}/docker-{id}.scope"),
        format!("/kubelet/kubepods/besteffort/pod{uid}/{id}"),
        format!("/kubepods/pod{}/crio-{id}/init.scope", uid.replace('-', "")),
    ];
    for (number, path) in paths.iter().enumerate() {
        fs::write(corpus.join(format!("path-{number}")), path)?;
    }
    Ok(())
}

fn write_dictionary(
    folder: &Path,
    target: &str,
    words: &BTreeSet<String>,
) -> Result<(), std::io::Error> {
    let words: String = words.iter().map(String::as_str).collect();
    fs::write(folder.join(format!("policy_{target}.dict")), words)
}
