#!/bin/sh
# Run Tesseract for the service: tesseract.sh ARGUMENT...
#
# It sees where programs and its data are, and no secrets. One thread: OpenMP's threads wait for
# each other longer than they work.
set -- env -i PATH="$PATH" ${TESSDATA_PREFIX:+TESSDATA_PREFIX="$TESSDATA_PREFIX"} \
    LC_ALL=C.UTF-8 OMP_THREAD_LIMIT=1 tesseract "$@"
# util-linux, on Linux: when the service is killed, so is what it started. No core dumps, 30 s of
# processor time (a picture has 20 s in all), 1 GB of address space (a dense page of 16 megapixels
# takes less than 0.4).
if setpriv --pdeathsig KILL true 2>/dev/null; then
    set -- prlimit --core=0 --cpu=30 --as=1000000000 setpriv --pdeathsig KILL "$@"
fi
exec "$@"
