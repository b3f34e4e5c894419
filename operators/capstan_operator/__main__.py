import sys

from capstan_operator.main import main

sys.exit(main())
