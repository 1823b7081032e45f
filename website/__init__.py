"""The documentation as a site: pages written from the code, and the build. No part of the wheel."""
