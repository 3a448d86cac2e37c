#!/bin/sh
# Chromium for the tests of the pages: the one that is there, else Debian's where we may install it.
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the tests of the pages ..."
    if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium; } >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "No Chromium here: the tests of the pages will be skipped. To run them: apt-get install chromium" >&2
