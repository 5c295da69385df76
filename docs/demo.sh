#!/usr/bin/env bash
# From nothing to a contact sheet: synthetic X-rays, an index over them, a query. `make demo` runs it.
set -euo pipefail
out=demo
rm -rf "$out"
step() { printf '\n$ %s\n' "$*"; "$@"; }

step cxrsearch phantom $out/data -n 400 --size 256
step cxrsearch build-index $out/data/images --labels $out/data/Data_Entry_2017.csv --weights random:0 --index $out/cxr-index
step cxrsearch info $out/cxr-index
images=("$out"/data/images/*.png)
step cxrsearch query "${images[0]}" --index $out/cxr-index -k 10 --sheet $out/sheet.png

cat <<END

The X-rays above are synthetic and the encoder is untrained (random:0), so these votes carry no medical meaning.
With real data: put NIH's images into data/images and Data_Entry_2017.csv beside that folder (see README), then

    cxrsearch build-index && cxrsearch query image.png --sheet sheet.png

The contact sheet of this demo: $out/sheet.png
END
