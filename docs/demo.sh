#!/usr/bin/env bash
# From nothing to a contact sheet: synthetic X-rays, a training, an index over them, a query. `make demo` runs it.
set -euo pipefail
out=demo
rm -rf "$out"
step() { printf '\n$ %s\n' "$*"; "$@"; }

step cxrsearch phantom $out/data -n 800 --size 128
data=("$out/data/images" --labels "$out/data/Data_Entry_2017.csv")
step cxrsearch train "${data[@]}" --config modern --arch densenet121 --weights random:0 --size 64 --max-minutes 2 \
  --split patient-hash:0.5/0.1/0.4 --out $out/run
step cxrsearch build-index "${data[@]}" --weights $out/run --index $out/cxr-index
step cxrsearch info $out/cxr-index
step cxrsearch evaluate --index $out/cxr-index --models knn,logistic --baselines view,histogram --replicates 500
# Patient 2 is in the test part: the network has not seen it.
step cxrsearch query $out/data/images/00000002_000.png --index $out/cxr-index -k 10 --sheet $out/sheet.png

cat <<END

The X-rays above are synthetic, and the encoder learned for two minutes, on half of the patients (485 images) alone. The
evaluation shows how much better than chance (an AUROC of 0.5, a vote by prevalence) it does on synthetic patients it has
not seen. None of this says anything about real patients.
With real data: put NIH's images into data/images and Data_Entry_2017.csv beside that folder (see docs/GUIDE.md), then

    cxrsearch build-index && cxrsearch query image.png --sheet sheet.png

The contact sheet of this demo: $out/sheet.png
END
