"""A day's work with real programs, in every way in which a platform may speak."""

import json

import pytest

from aerofs.sandbox import PRESETS
from tests.mount.harness import LocalPlatform, Mounting, Paper
from tests.mounted import eventually

DIALECTS = {
    "action-upload": {"append_action": "Upload"},
    "other-part-name": {"part_name": "attachments"},
    "lines-by-index": {"lines_by": "index"},
}
"""What no answer tells, and a profile has to say."""
DEFINITIONS = {key: {"order": ["scan", "papers.letters"]} for key in ["no-definitions-list", "no-field-list"]}
"""Named in the profile: what is not listed, and the fields that no document shows because they are empty."""

FIELDS = {"hidden-fields": "papers.letters"}
"""Where to work, if not in `scan`."""

WORK = """
set -eu
there=$1; here=$2; field=$3
head -c 300000 /dev/urandom > "$here/first"
head -c 5000 /dev/urandom > "$here/second"
for file in first second; do cp "$here/$file" $field/file; cmp "$here/$file" $field/file; done
echo tail >> $field/file
echo tail >> "$here/second"
cmp "$here/second" $field/file
mv $field/file "$there/$field/"
test ! -e $field/file
cmp "$here/second" "$there/$field/file"
mv "$there/$field/file" "$there/$field/renamed"
test ! -e "$there/$field/file"
cmp "$here/second" "$there/$field/renamed"
cp "$here/first" "$there/$field/new.part"
mv "$there/$field/new.part" "$there/$field/renamed"
cmp "$here/first" "$there/$field/renamed"
test "$(ls "$there/$field")" = renamed

mkdir "$here/source" "$here/back"
for size in 0 1 1000 200000; do head -c $size /dev/urandom > "$here/source/f$size"; done
rsync -a "$here/source/" $field/
rsync -a $field/ "$here/back/"
diff -r "$here/source" "$here/back"
tar cf "$here/tar" -C $field .
mkdir "$here/unpacked"
tar xf "$here/tar" -C "$here/unpacked" --no-overwrite-dir
diff -r "$here/source" "$here/unpacked"
(cd $field && md5sum *) > "$here/sums"
(cd $field && md5sum --quiet -c "$here/sums")
rm $field/f1 $field/f1000
test "$(ls $field)" = "$(printf 'f0\\nf200000')"
find . -type f | grep -q f200000
"""


@pytest.mark.parametrize("variant", sorted(PRESETS))
def test_a_days_work_is_done_on_every_kind_of_platform(
    platform: LocalPlatform, mounting: Mounting, variant: str
) -> None:
    platform.variants(variant)
    document, other = platform.document(), platform.document()
    settings: dict[str, object] = {}
    if variant in DIALECTS:
        settings["dialect"] = json.dumps(DIALECTS[variant])
    if variant in DEFINITIONS:
        settings["definitions"] = json.dumps(DEFINITIONS[variant])
    drive = mounting(platform, **settings)
    paper, there = Paper(drive, document), Paper(drive, other)
    here = drive.directory / "here"
    here.mkdir()
    field = FIELDS.get(variant, "scan")
    drive.shell(WORK, there.path, here, field, cwd=paper.path)
    drive.settled()
    eventually(lambda: not drive.saves(), what="everything to be settled")
    files = {name: (here / "source" / name).read_bytes() for name in ("f0", "f200000")}
    assert sorted(paper.held(field)) == sorted(files.items())
    assert there.held(field) == [("renamed", (here / "first").read_bytes())]
