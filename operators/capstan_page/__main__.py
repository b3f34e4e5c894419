"""`python -m capstan_page`."""

import sys

from capstan_page.main import main

sys.exit(main())
