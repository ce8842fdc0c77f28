# Works with Python >= 3.11, pip and make alone; everything lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests
JOBS ?= 2

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,postgres,dev]'
	touch $@

# set to anything, it would make every process of the tests compile all modules anew
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup serve check test lowest walk javascript history failover citus screenshots bench fix
.DEFAULT_GOAL := setup
setup: .venv/ready

serve: .venv/ready
	$(BIN)/temppass serve --demo --port 8080

# what a hand runs after each change, and what CI runs
check: SOME := -m "not process and not broad"
check test: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(SOME) $(TESTS)

# the tests with the lowest versions that pyproject.toml allows; tools of the tests may complain, newer helpers may warn;
# a newer Authlib would want a newer joserfc than ours
lowest: .venv/lowest/ready
	.venv/lowest/bin/pytest -W ignore::DeprecationWarning -n $(JOBS) $(TESTS)

.venv/lowest/ready: .venv/ready constraints-lowest.txt
	$(PYTHON) -m venv .venv/lowest
	.venv/lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,postgres,dev]'
	.venv/lowest/bin/python -m pip install --quiet --disable-pip-version-check -r constraints-lowest.txt 'authlib<1.7'
	touch $@

fix: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

walk: .venv/ready
	$(BIN)/python -m tests.web.walk.walk

# two OAuth clients for JavaScript, as docs/guide.md uses them, at a real server; wants Node.js 20 or later, with npm
javascript: .venv/ready
	npm install --prefix .venv/javascript --no-audit --no-fund --no-package-lock oauth4webapi@3.8.8 openid-client@6.8.9
	$(BIN)/pytest tests/e2e/javascript.py

# ten thousand groups of clients at two servers on one PostgreSQL; some minutes
history: .venv/ready
	TEMPPASS_TEST_GROUPS=10000 $(BIN)/pytest -s -o faulthandler_timeout=1800 tests/e2e/test_history.py -k two_processes

# ten failovers of PostgreSQL under load; two or three minutes
failover: .venv/ready
	$(BIN)/pytest -s -o faulthandler_timeout=1800 tests/e2e/failover.py

# nodes of a Citus cluster killed, and a slot moved, under load; tests/e2e/citus.py says what it has to be told
citus: .venv/ready
	$(BIN)/pytest -s -o faulthandler_timeout=1800 tests/e2e/citus.py

# every page of the console, light, dark and on a phone; OPTIONS=--docs for those of the documentation
screenshots: .venv/ready
	$(BIN)/python -m tests.e2e.pages.screenshots $(OPTIONS)

bench: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r bench/requirements.txt
	$(BIN)/python bench/run.py
